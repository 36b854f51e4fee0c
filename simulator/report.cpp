#include "simulator/report.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <functional>
#include <optional>
#include <set>
#include <span>

#include "base/units.h"
#include "simulator/chart.h"
#include "simulator/report_page.h"
#include "simulator/run_history.h"

namespace shoal::simulator {
namespace {

constexpr std::size_t kColors = 8;  // then they repeat

using Value = std::function<std::optional<double>(const HistoryPoint&)>;

std::string format(const char* pattern, double value) {
  char text[32];
  std::snprintf(text, sizeof text, pattern, value);
  return text;
}

std::string swatch(std::size_t run) { return "<span class=\"swatch c" + std::to_string(run % kColors) + "\"></span>"; }

double largest(std::span<const RunHistory> runs, double (*of)(const HistoryPoint&)) {
  double value = 0;
  for (const RunHistory& run : runs)
    if (!run.points.empty()) value = std::max(value, of(run.points.back()));
  return value;
}

double rounds_of(const HistoryPoint& p) { return static_cast<double>(p.version); }
double seconds_of(const HistoryPoint& p) { return p.seconds; }
double bytes_of(const HistoryPoint& p) { return p.bytes_up + p.bytes_down; }

std::vector<Series> curves(std::span<const RunHistory> runs, double (*x)(const HistoryPoint&), const Value& y) {
  std::vector<Series> all;
  for (std::size_t r = 0; r < runs.size(); ++r) {
    Series series{runs[r].name, r % kColors, {}, {}};
    for (const HistoryPoint& point : runs[r].points)
      if (const auto value = y(point)) {
        series.x.push_back(x(point));
        series.y.push_back(*value);
      }
    all.push_back(std::move(series));
  }
  return all;
}

// The same quantity against rounds, virtual time and bytes.
std::string row_of_charts(std::span<const RunHistory> runs, const std::string& title, const Axis& y,
                          const Value& value) {
  const Axis time = time_axis("time", largest(runs, seconds_of));
  const Axis bytes = bytes_axis("data moved, both ways", largest(runs, bytes_of));
  return to_html({title + " by rounds", {"rounds", 1}, y, curves(runs, rounds_of, value)}) +
         to_html({title + " by time", time, y, curves(runs, seconds_of, value)}) +
         to_html({title + " by data moved", bytes, y, curves(runs, bytes_of, value)});
}

std::string charts(std::span<const RunHistory> runs) {
  const bool tested = std::any_of(runs.begin(), runs.end(), [](const RunHistory& run) {
    return std::any_of(run.points.begin(), run.points.end(),
                       [](const HistoryPoint& p) { return p.accuracy.has_value(); });
  });
  std::string html = "<section class=\"charts\">\n";
  if (tested) {
    html += row_of_charts(runs, "Test accuracy (%)", {"", 0.01}, [](const HistoryPoint& p) { return p.accuracy; });
    html += row_of_charts(runs, "Test loss", {"", 1}, [](const HistoryPoint& p) { return p.loss; });
  } else {
    html += row_of_charts(runs, "Training loss", {"", 1},
                          [](const HistoryPoint& p) { return std::optional(p.train_loss); });
  }
  const auto plain = [&](const std::string& title, const Value& value) {
    return to_html({title, {"rounds", 1}, {"", 1, true}, curves(runs, rounds_of, value)});
  };
  html += plain("Updates folded in a round",
                [](const HistoryPoint& p) { return std::optional(static_cast<double>(p.received)); });
  html += plain("Updates refused or failed in a round",
                [](const HistoryPoint& p) { return std::optional(static_cast<double>(p.refused + p.failed)); });
  html += plain("Mean staleness (versions)", [](const HistoryPoint& p) { return std::optional(p.staleness); });
  return html + "</section>\n";
}

struct Final {
  std::string name, value;
};

// The figures a run ends with.
std::vector<Final> finals(const RunHistory& run) {
  if (run.points.empty()) return {{"rounds", "0"}};
  const HistoryPoint& last = run.points.back();
  std::optional<double> accuracy, loss, best;
  std::uint64_t received = 0, refused = 0;
  for (const HistoryPoint& point : run.points) {
    if (point.accuracy) accuracy = point.accuracy;
    if (point.loss) loss = point.loss;
    if (point.accuracy) best = std::max(best.value_or(0), *point.accuracy);
    received += point.received;
    refused += point.refused;
  }
  std::vector<Final> figures;
  const auto percent = [](const std::optional<double>& share) {
    return share ? format("%.2f %%", 100 * *share) : std::string("–");
  };
  figures.push_back({"final accuracy", percent(accuracy)});
  figures.push_back({"best accuracy", percent(best)});
  figures.push_back({"final loss", format("%.4f", loss.value_or(last.train_loss))});
  figures.push_back({"rounds", std::to_string(last.version)});
  figures.push_back({"time", human_duration(from_seconds(last.seconds))});
  figures.push_back({"sent up", human_bytes(static_cast<std::uint64_t>(last.bytes_up))});
  figures.push_back({"sent down", human_bytes(static_cast<std::uint64_t>(last.bytes_down))});
  figures.push_back({"folded", std::to_string(received)});
  figures.push_back({"refused", std::to_string(refused)});
  return figures;
}

std::string tiles(const RunHistory& run) {
  std::string html = "<section class=\"tiles\">\n";
  for (const Final& figure : finals(run))
    html += "<div class=\"tile\"><span>" + figure.name + "</span><b>" + escaped(figure.value) + "</b></div>\n";
  return html + "</section>\n";
}

std::string final_table(std::span<const RunHistory> runs) {
  const auto widest = std::max_element(runs.begin(), runs.end(), [](const RunHistory& a, const RunHistory& b) {
    return finals(a).size() < finals(b).size();
  });
  const std::vector<Final> head = finals(*widest);
  std::string html = "<h2>Final figures</h2>\n<div class=\"table\"><table><thead><tr><th>run</th>";
  for (const Final& figure : head) html += "<th class=\"n\">" + figure.name + "</th>";
  html += "<th>model</th></tr></thead><tbody>\n";
  for (std::size_t r = 0; r < runs.size(); ++r) {
    html += "<tr><th>" + swatch(r) + escaped(runs[r].name) + "</th>";
    const std::vector<Final> figures = finals(runs[r]);
    for (std::size_t i = 0; i < head.size(); ++i)
      html +=
          "<td class=\"n\">" + (figures.size() == head.size() ? escaped(figures[i].value) : std::string("–")) + "</td>";
    html += "<td><code>" + escaped(runs[r].digest.substr(0, 12)) + "</code></td></tr>\n";
  }
  return html + "</tbody></table></div>\n";
}

// Rows of `keys`, a column a run.
std::string config_table(std::span<const RunHistory> runs, const std::set<std::string>& keys) {
  std::string html = "<div class=\"table\"><table><thead><tr><th>key</th>";
  for (std::size_t r = 0; r < runs.size(); ++r)
    html += "<th>" + (runs.size() > 1 ? swatch(r) : std::string()) + escaped(runs[r].name) + "</th>";
  html += "</tr></thead><tbody>\n";
  for (const std::string& key : keys) {
    html += "<tr><td><code>" + escaped(key) + "</code></td>";
    for (const RunHistory& run : runs) {
      const auto found = run.config.find(key);
      html += "<td><code>" + (found == run.config.end() ? std::string("–") : escaped(found->second)) + "</code></td>";
    }
    html += "</tr>\n";
  }
  return html + "</tbody></table></div>\n";
}

std::string configuration(std::span<const RunHistory> runs) {
  std::set<std::string> all, different;
  for (const RunHistory& run : runs)
    for (const auto& [key, value] : run.config) all.insert(key);
  for (const std::string& key : all) {
    const auto value = [&](const RunHistory& run) {
      const auto found = run.config.find(key);
      return found == run.config.end() ? std::string() : found->second;
    };
    if (std::any_of(runs.begin(), runs.end(), [&](const RunHistory& run) { return value(run) != value(runs[0]); }))
      different.insert(key);
  }
  std::string html;
  if (runs.size() > 1) {
    html += "<h2>What differs</h2>\n";
    html += different.empty() ? "<p>The runs have the same configuration.</p>\n" : config_table(runs, different);
  }
  if (all.empty()) return html;
  return html + "<h2>Configuration</h2>\n<details><summary>All " + std::to_string(all.size()) + " keys</summary>\n" +
         config_table(runs, all) + "</details>\n";
}

std::string page(std::span<const RunHistory> runs) {
  const std::string title = runs.size() == 1 ? runs[0].name : std::to_string(runs.size()) + " runs compared";
  std::string html =
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>" +
      escaped(title) + " – Shoal</title>\n<style>" + std::string(kReportStyle) +
      "</style></head><body><main>\n<header><h1>" + escaped(title) +
      "</h1><p>Shoal, federated learning for fleets of small devices</p></header>\n";
  if (runs.size() == 1) {
    html += tiles(runs[0]);
  } else {
    html += "<ul class=\"legend\">";
    for (std::size_t r = 0; r < runs.size(); ++r) html += "<li>" + swatch(r) + escaped(runs[r].name) + "</li>";
    html += "</ul>\n";
  }
  html += charts(runs);
  if (runs.size() > 1) html += final_table(runs);
  html += configuration(runs);
  if (runs.size() == 1 && !runs[0].digest.empty())
    html += "<footer>Model <code>" + escaped(runs[0].digest) + "</code></footer>\n";
  return html + "</main><script>" + std::string(kReportScript) + "</script></body></html>\n";
}

}  // namespace

Result<void> write_report(const std::vector<std::string>& run_folders, const std::string& out) {
  if (run_folders.empty()) return Error(ErrorCode::kInvalid, "a report needs at least one run folder");
  std::vector<RunHistory> runs;
  for (const std::string& folder : run_folders) {
    SHOAL_TRY_ASSIGN(RunHistory run, read_history(folder));
    runs.push_back(std::move(run));
  }
  std::ofstream file(out, std::ios::binary | std::ios::trunc);
  file << page(runs);
  file.close();
  if (!file) return Error(ErrorCode::kFailed, "cannot write the report " + out);
  return {};
}

}  // namespace shoal::simulator
