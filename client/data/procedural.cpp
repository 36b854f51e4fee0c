#include "client/data/procedural.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/rng.h"

namespace shoal::client::data {
namespace {

// Only + - * / and sqrt of doubles from here on, which IEEE 754 rounds alike everywhere; no libm beyond that.

struct Point {
  double x = 0, y = 0;
};
Point operator+(Point a, Point b) { return {a.x + b.x, a.y + b.y}; }
Point operator-(Point a, Point b) { return {a.x - b.x, a.y - b.y}; }
Point operator*(double s, Point p) { return {s * p.x, s * p.y}; }

// A stroke is a chain of quadratic curves: start, then (control, end) pairs. Coordinates 0..1, y grows downwards.
constexpr std::size_t kMaxPoints = 10;
struct Stroke {
  std::array<Point, kMaxPoints> points;
  std::size_t count;
};
struct Glyph {
  std::array<Stroke, 2> strokes;
  std::size_t count;
};

// A straight line is a curve whose control point lies half-way.
constexpr Stroke line(Point a, Point b) { return {{{a, {(a.x + b.x) / 2, (a.y + b.y) / 2}, b}}, 3}; }
constexpr Stroke lines(Point a, Point b, Point c) {
  return {{{a, {(a.x + b.x) / 2, (a.y + b.y) / 2}, b, {(b.x + c.x) / 2, (b.y + c.y) / 2}, c}}, 5};
}
constexpr Stroke lines(Point a, Point b, Point c, Point d) {
  return {{{a,
            {(a.x + b.x) / 2, (a.y + b.y) / 2},
            b,
            {(b.x + c.x) / 2, (b.y + c.y) / 2},
            c,
            {(c.x + d.x) / 2, (c.y + d.y) / 2},
            d}},
          7};
}

// Ten signs in pairs that are easily confused: ring and open ring, cross and T, V and U, Z and S, loop and hook.
constexpr std::array<Glyph, kGlyphClasses> kGlyphs{{
    {{Stroke{{{{.5, .05}, {.95, .05}, {.95, .5}, {.95, .95}, {.5, .95}, {.05, .95}, {.05, .5}, {.05, .05}, {.5, .05}}},
             9}},
     1},
    {{Stroke{{{{.85, .15}, {.5, -.1}, {.2, .2}, {-.1, .5}, {.2, .8}, {.5, 1.1}, {.85, .85}}}, 7}}, 1},
    {{line({.5, .05}, {.5, .95}), line({.08, .5}, {.92, .5})}, 2},
    {{line({.5, .1}, {.5, .95}), line({.08, .12}, {.92, .12})}, 2},
    {{lines({.1, .08}, {.5, .92}, {.9, .08})}, 1},
    {{Stroke{{{{.15, .08}, {.12, .5}, {.18, .7}, {.5, 1.15}, {.82, .7}, {.88, .5}, {.85, .08}}}, 7}}, 1},
    {{lines({.12, .1}, {.88, .1}, {.12, .9}, {.88, .9})}, 1},
    {{Stroke{{{{.85, .18}, {.5, -.1}, {.2, .2}, {.05, .45}, {.5, .5}, {.95, .55}, {.8, .8}, {.5, 1.1}, {.15, .82}}},
             9}},
     1},
    {{Stroke{{{{.7, .05}, {.1, .3}, {.2, .7}, {.5, 1.15}, {.8, .75}, {.7, .4}, {.25, .62}}}, 7}}, 1},
    {{Stroke{{{{.25, .1}, {.95, -.05}, {.8, .45}, {.7, .65}, {.5, .95}}}, 5}, line({.3, .5}, {.9, .5})}, 2},
}};

double between(Stream& stream, double low, double high) { return low + (high - low) * stream.uniform(); }

// What stays the same in everything one writer draws.
struct Hand {
  double slant, rise;      // shear of the whole glyph
  double width, height;    // of the glyph, in image edges
  double pen, ink, paper;  // stroke width in pixels; darkness of ink and of paper, 0..1
  double grain;            // amplitude of pixel noise
  double wobble;           // by how much control points move from one example to the next
  std::array<std::array<std::array<Point, kMaxPoints>, 2>, kGlyphClasses>
      habit;                                // the writer's own variant of each glyph
  std::array<double, kGlyphClasses> share;  // cumulative preferences for classes

  Hand(std::uint64_t seed, std::uint32_t writer) {
    Stream stream(seed, "hand", writer);
    slant = between(stream, -.45, .45);
    rise = between(stream, -.22, .22);
    width = between(stream, .42, .72);
    height = between(stream, .48, .76);
    pen = between(stream, 1.1, 3.0);
    ink = between(stream, .55, 1.0);
    paper = between(stream, 0, .2);
    grain = between(stream, .04, .26);
    wobble = between(stream, .03, .09);
    for (auto& glyph : habit)
      for (auto& stroke : glyph)
        for (Point& p : stroke) p = {between(stream, -.1, .1), between(stream, -.1, .1)};
    double sum = 0;
    for (double& s : share) {
      const double u = stream.uniform();
      s = sum += 0.03 + u * u * u * u;  // a few favourites, some classes hardly ever
    }
    for (double& s : share) s /= sum;
  }
};

// Ink on a page: each pixel keeps the darkest stroke that touches it.
class Canvas {
 public:
  // A straight piece of a stroke with round ends; coordinates in pixels.
  void draw(Point a, Point b, double pen) {
    const double reach = pen / 2 + 1;
    const auto pixel = [](double v) { return static_cast<int>(std::clamp(v, 0.0, double{kGlyphEdge - 1})); };
    const Point d = b - a;
    const double length2 = d.x * d.x + d.y * d.y;
    for (int y = pixel(std::min(a.y, b.y) - reach); y <= pixel(std::max(a.y, b.y) + reach); ++y) {
      for (int x = pixel(std::min(a.x, b.x) - reach); x <= pixel(std::max(a.x, b.x) + reach); ++x) {
        const Point p = Point{x + .5, y + .5} - a;
        const double t = length2 > 0 ? std::clamp((p.x * d.x + p.y * d.y) / length2, 0.0, 1.0) : 0.0;
        const Point off = p - t * d;
        const double cover = std::clamp(pen / 2 + .5 - std::sqrt(off.x * off.x + off.y * off.y), 0.0, 1.0);
        double& held = cover_[static_cast<std::size_t>(y) * kGlyphEdge + static_cast<std::size_t>(x)];
        held = std::max(held, cover);
      }
    }
  }
  std::span<const double> cover() const { return cover_; }

 private:
  std::array<double, std::size_t{kGlyphEdge} * kGlyphEdge> cover_{};
};

// The points of a stroke as this writer moves the pen this time, in pixels.
std::array<Point, kMaxPoints> place(const Stroke& stroke, const std::array<Point, kMaxPoints>& habit, const Hand& hand,
                                    double size, Point shift, Stream& stream) {
  std::array<Point, kMaxPoints> placed{};
  for (std::size_t i = 0; i < stroke.count; ++i) {
    const Point wobble{between(stream, -hand.wobble, hand.wobble), between(stream, -hand.wobble, hand.wobble)};
    const Point p = stroke.points[i] + habit[i] + wobble - Point{.5, .5};
    const Point sheared{p.x - hand.slant * p.y, p.y + hand.rise * p.x};
    const Point scaled{hand.width * sheared.x, hand.height * sheared.y};
    placed[i] = double{kGlyphEdge} * (Point{.5, .5} + size * scaled + shift);
  }
  return placed;
}

void draw_stroke(Canvas& canvas, std::span<const Point> points, double pen) {
  constexpr int kPieces = 8;  // of one curve
  for (std::size_t i = 0; i + 2 < points.size(); i += 2) {
    Point from = points[i];
    for (int piece = 1; piece <= kPieces; ++piece) {
      const double t = static_cast<double>(piece) / kPieces, s = 1 - t;
      const Point to = s * s * points[i] + 2 * s * t * points[i + 1] + t * t * points[i + 2];
      canvas.draw(from, to, pen);
      from = to;
    }
  }
}

std::uint32_t draw(const Hand& hand, std::uint64_t seed, bool test, std::uint32_t writer, std::uint32_t index,
                   std::span<std::uint8_t> pixels) {
  Stream stream(seed, test ? "glyph of test" : "glyph", writer, index);
  const double wish = stream.uniform();
  std::uint32_t label = 0;
  while (label + 1 < kGlyphClasses && wish >= hand.share[label]) ++label;

  const double size = between(stream, .85, 1.15);
  const Point shift{between(stream, -.09, .09), between(stream, -.09, .09)};
  Canvas canvas;
  const Glyph& glyph = kGlyphs[label];
  for (std::size_t s = 0; s < glyph.count; ++s) {
    const auto points = place(glyph.strokes[s], hand.habit[label][s], hand, size, shift, stream);
    draw_stroke(canvas, std::span(points).first(glyph.strokes[s].count), hand.pen);
  }
  std::uint32_t random = 0;
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    random = i % 4 == 0 ? stream.next32() : random >> 8;
    const double grain = hand.grain * (double(random & 255) / 255 - .5);
    const double tone = hand.paper + (hand.ink - hand.paper) * canvas.cover()[i] + grain;
    pixels[i] = static_cast<std::uint8_t>(255 * std::clamp(tone, 0.0, 1.0) + .5);
  }
  return label;
}

}  // namespace

std::uint32_t draw_glyph(std::uint64_t seed, bool test, std::uint32_t writer, std::uint32_t index,
                         std::span<std::uint8_t> pixels) {
  SHOAL_CHECK(pixels.size() == std::size_t{kGlyphEdge} * kGlyphEdge, "a glyph has 28 x 28 pixels");
  return draw(Hand(seed, writer), seed, test, writer, index, pixels);
}

Result<Dataset> make_procedural(const ProceduralOptions& options) {
  constexpr std::size_t kPixels = std::size_t{kGlyphEdge} * kGlyphEdge;
  const std::uint64_t rows = std::uint64_t{options.writers} * options.examples;
  if (rows == 0 || rows > UINT32_MAX || options.writers - 1 > UINT32_MAX - options.first_writer)
    return Error(ErrorCode::kInvalid,
                 "a procedural set needs 1 to 2^32 - 1 examples in all, not " + std::to_string(rows));
  Dataset dataset;
  dataset.shape = {1, kGlyphEdge, kGlyphEdge};
  dataset.classes = kGlyphClasses;
  dataset.bytes.resize(rows * kPixels);
  dataset.labels.reserve(rows);
  dataset.groups.reserve(rows);
  for (std::uint32_t w = 0; w < options.writers; ++w) {
    const std::uint32_t writer = options.first_writer + w;
    const Hand hand(options.seed, writer);
    dataset.group_names.push_back("writer " + std::to_string(writer));
    for (std::uint32_t index = 0; index < options.examples; ++index) {
      const std::span<std::uint8_t> pixels = std::span(dataset.bytes).subspan(dataset.rows() * kPixels, kPixels);
      dataset.labels.push_back(draw(hand, options.seed, options.test, writer, index, pixels));
      dataset.groups.push_back(w);
    }
  }
  return dataset;
}

}  // namespace shoal::client::data
