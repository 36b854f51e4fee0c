#include "coordinator/metrics.h"

#include <gtest/gtest.h>
#include <httplib.h>

#include "coordinator/http.h"

namespace shoal::coordinator {
namespace {

TEST(Metrics, RendersPrometheusText) {
  Metrics metrics;
  metrics.add("shoal_refusals_total", 1, {"reason", "late"});
  metrics.add("shoal_refusals_total", 2, {"reason", "late"});
  metrics.add("shoal_refusals_total", 1, {"reason", "replayed"});
  metrics.set("shoal_storage_full", 0);
  EXPECT_EQ(metrics.render(),
            "# TYPE shoal_refusals_total counter\n"
            "shoal_refusals_total{reason=\"late\"} 3\n"
            "shoal_refusals_total{reason=\"replayed\"} 1\n"
            "# TYPE shoal_storage_full gauge\n"
            "shoal_storage_full 0\n");
  EXPECT_EQ(metrics.value("shoal_refusals_total", {"reason", "late"}), 3);
  EXPECT_EQ(metrics.value("shoal_nothing"), 0);
}

TEST(Metrics, EscapesWhatALabelSays) {
  Metrics metrics;
  metrics.add("shoal_rounds_total", 2, {"job", "a \"b\" c\\d\ne"});
  EXPECT_EQ(metrics.render(),
            "# TYPE shoal_rounds_total counter\n"
            "shoal_rounds_total{job=\"a \\\"b\\\" c\\\\d\\ne\"} 2\n");
  EXPECT_EQ(metrics.value("shoal_rounds_total", {"job", "a \"b\" c\\d\ne"}), 2);
}

TEST(HttpServer, ServesMetricsHealthAndReadiness) {
  Metrics metrics;
  metrics.set("shoal_test", 42);
  std::atomic<bool> ready = false;
  const auto server = HttpServer::listen("127.0.0.1:0", metrics, [&] { return ready.load(); }).value();
  httplib::Client client("127.0.0.1", server->port());
  const auto body = [&](const char* path) {
    const auto response = client.Get(path);
    return response ? std::to_string(response->status) + " " + response->body : "no answer";
  };
  EXPECT_EQ(body("/metrics"), "200 # TYPE shoal_test gauge\nshoal_test 42\n");
  EXPECT_EQ(body("/healthz"), "200 ok\n");
  EXPECT_EQ(body("/readyz"), "503 not ready\n");
  ready = true;
  EXPECT_EQ(body("/readyz"), "200 ready\n");
}

TEST(HttpServer, RefusesAnAddressThatMakesNoSenseOrIsTaken) {
  Metrics metrics;
  const auto always = [] { return true; };
  EXPECT_EQ(HttpServer::listen("nonsense", metrics, always).error().code(), ErrorCode::kInvalid);
  EXPECT_EQ(HttpServer::listen("127.0.0.1:99999", metrics, always).error().code(), ErrorCode::kInvalid);
  EXPECT_EQ(HttpServer::listen("192.0.2.1:7702", metrics, always).error().code(), ErrorCode::kUnavailable);
}

}  // namespace
}  // namespace shoal::coordinator
