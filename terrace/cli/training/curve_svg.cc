#include "terrace/cli/training/curve_svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>

#include "terrace/core/utf8.h"

namespace terrace::cli {
namespace {

constexpr double kWidth = 760, kHeight = 440, kLeft = 76, kRight = 24, kTop = 56, kBottom = 58;
constexpr int kMostX = 9, kMostY = 8;
// Okabe and Ito's colours, which colour-blind readers can tell apart.
constexpr std::string_view kColours[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"};

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  void take(double v) {
    low = std::min(low, v);
    high = std::max(high, v);
  }
  bool empty() const { return !(low <= high); }
};

/// Where data stand on the picture.
class Scale {
 public:
  Scale(Range r, double from, double to, bool log) : range_(r), from_(from), to_(to), log_(log) {}
  double operator()(double v) const {
    return from_ + (to_ - from_) * (at(v) - at(range_.low)) / (at(range_.high) - at(range_.low));
  }
  const Range& range() const { return range_; }

 private:
  double at(double v) const { return log_ ? std::log10(v) : v; }
  Range range_;
  double from_, to_;
  bool log_;
};

bool drawn(const Chart& c, const std::pair<double, double>& p) {
  // Differences of larger numbers might overflow.
  constexpr double kMost = 1e300;
  return std::abs(p.first) < kMost && std::abs(p.second) < kMost && (!c.log_y || p.second > 1 / kMost);
}

/// Never of zero length, nor of one that only rounding made.
Range widened(Range r, bool log) {
  if (r.empty()) return {log ? 0.1 : 0.0, 1.0};
  const double size = std::max(std::abs(r.low), std::abs(r.high));
  if (r.high - r.low > 1e-9 * size) return r;
  const double by = size == 0 ? 1 : size / 2;
  return {r.low - by, r.high + by};
}

/// A little room above and below.
Range padded(Range r, bool log) {
  if (log) {
    const double factor = std::pow(r.high / r.low, 0.04);
    return {r.low / factor, r.high * factor};
  }
  const double by = (r.high - r.low) * 0.04;
  return {r.low >= 0 ? std::max(0.0, r.low - by) : r.low - by, r.high + by};
}

/// The path of one curve. Of all points in half a pixel's width the first, lowest, highest and last are drawn.
std::string path_of(const Chart& c, const Curve& curve, const Scale& x, const Scale& y) {
  std::string d;
  bool pen_up = true;
  const auto put = [&](double px, double py) {
    d += fmt::format("{}{:.1f} {:.1f}", pen_up ? "M" : "L", px, py);
    pen_up = false;
  };
  const auto& points = curve.points;
  for (std::size_t i = 0; i < points.size();) {
    if (!drawn(c, points[i])) {
      pen_up = true;
      ++i;
      continue;
    }
    const double column = std::floor(2 * x(points[i].first));
    std::size_t end = i, low = i, high = i;
    do {
      if (points[end].second < points[low].second) low = end;
      if (points[end].second > points[high].second) high = end;
      ++end;
    } while (end < points.size() && drawn(c, points[end]) && std::floor(2 * x(points[end].first)) == column);
    std::size_t kept[] = {i, low, high, end - 1};
    std::sort(std::begin(kept), std::end(kept));
    for (const std::size_t* k = kept; k != std::unique(std::begin(kept), std::end(kept)); ++k)
      put(x(points[*k].first), y(points[*k].second));
    i = end;
  }
  return d;
}

std::string grid(const Scale& x, const Scale& y, bool log_y) {
  std::string s;
  const auto xs = linear_ticks(x.range().low, x.range().high, kMostX);
  const auto ys =
      log_y ? log_ticks(y.range().low, y.range().high, kMostY) : linear_ticks(y.range().low, y.range().high, kMostY);
  const auto x_text = tick_labels(xs), y_text = tick_labels(ys);
  for (std::size_t i = 0; i < xs.size(); ++i)
    s +=
        fmt::format("<path d=\"M{0:.1f} {1} V{2}\" class=\"g\"/><text x=\"{0:.1f}\" y=\"{3}\" class=\"x\">{4}</text>\n",
                    x(xs[i]), kTop, kHeight - kBottom, kHeight - kBottom + 18, x_text[i]);
  for (std::size_t i = 0; i < ys.size(); ++i)
    s +=
        fmt::format("<path d=\"M{0} {1:.1f} H{2}\" class=\"g\"/><text x=\"{3}\" y=\"{4:.1f}\" class=\"y\">{5}</text>\n",
                    kLeft, y(ys[i]), kWidth - kRight, kLeft - 8, y(ys[i]) + 4, y_text[i]);
  return s + fmt::format("<path d=\"M{} {} V{} H{}\" class=\"a\"/>\n", kLeft, kTop, kHeight - kBottom, kWidth - kRight);
}

std::string legend(const Chart& c) {
  std::size_t longest = 0;
  for (const Curve& curve : c.curves) longest = std::max(longest, curve.name.size());
  if (longest == 0) return {};
  const double width = std::min(46 + 7.2 * static_cast<double>(longest), 420.0), left = kWidth - kRight - width - 8;
  std::string s = fmt::format(
      "<rect x=\"{:.1f}\" y=\"{}\" width=\"{:.1f}\" height=\"{}\" rx=\"5\" fill=\"#ffffff\" "
      "fill-opacity=\"0.85\" stroke=\"#d5dbe1\"/>\n",
      left, kTop + 8, width, 20 * c.curves.size() + 8);
  for (std::size_t i = 0; i < c.curves.size(); ++i) {
    const double at = kTop + 22 + 20 * static_cast<double>(i);
    s += fmt::format(
        "<path d=\"M{:.1f} {} h22\" class=\"{}\" stroke=\"{}\"/><text x=\"{:.1f}\" y=\"{}\" class=\"l\">{}"
        "</text>\n",
        left + 10, at, c.curves[i].faint ? "f" : "c", kColours[i % std::size(kColours)], left + 38, at + 4,
        for_xml(c.curves[i].name));
  }
  return s;
}

}  // namespace

std::vector<double> linear_ticks(double low, double high, int most) {
  const double power = std::pow(10.0, std::floor(std::log10((high - low) / most)));
  std::vector<double> ticks;
  for (const double factor : {1.0, 2.0, 5.0, 10.0, 20.0}) {
    // Multiples of a step below one are quotients of whole numbers: 3 / 10 is 0.3, 3 * 0.1 is not.
    const bool inverse = factor * power < 1;
    const double step = inverse ? std::round(1 / (factor * power) * 1e6) / 1e6 : factor * power;
    ticks.clear();
    for (double n = std::ceil(inverse ? low * step : low / step); static_cast<int>(ticks.size()) <= most; ++n) {
      const double v = inverse ? n / step : n * step;
      if (!(v <= high)) break;
      if (v >= low) ticks.push_back(v == 0 ? 0 : v);  // no -0
    }
    if (static_cast<int>(ticks.size()) <= most) break;
  }
  return ticks;
}

std::vector<double> log_ticks(double low, double high, int most) {
  const int first = static_cast<int>(std::floor(std::log10(low))), last = static_cast<int>(std::ceil(std::log10(high)));
  const auto within = [&](std::initializer_list<int> factors, int stride) {
    std::vector<double> ticks;
    for (int e = first; e <= last; e += stride)
      for (const int f : factors) {
        const double v = e < 0 ? f / std::pow(10.0, -e) : f * std::pow(10.0, e);
        if (v >= low && v <= high) ticks.push_back(v);
      }
    return ticks;
  };
  if (auto fine = within({1, 2, 5}, 1); static_cast<int>(fine.size()) <= most)
    return fine.size() >= 3 ? fine : linear_ticks(low, high, most);
  int stride = 1;
  auto ticks = within({1}, stride);
  while (static_cast<int>(ticks.size()) > most) ticks = within({1}, ++stride);
  return ticks;
}

std::vector<std::string> tick_labels(const std::vector<double>& ticks) {
  double largest = 0, step = std::numeric_limits<double>::infinity(), widest = 0;
  for (std::size_t i = 0; i < ticks.size(); ++i) {
    largest = std::max(largest, std::abs(ticks[i]));
    if (i == 0) continue;
    step = std::min(step, ticks[i] - ticks[i - 1]);
    widest = std::max(widest, ticks[i] - ticks[i - 1]);
  }
  const bool even = ticks.size() > 1 && widest < 1.5 * step;  // a logarithmic axis is not: digits by the number itself
  std::vector<std::string> labels;
  for (const double v : ticks) {
    const double unit = even ? step : std::abs(v);
    if (largest >= 1e7 || (v != 0 && unit < 1e-4)) {
      labels.push_back(fmt::format("{:.6g}", v));
      continue;
    }
    int digits = 0;
    for (double u = unit; digits < 9 && std::abs(u - std::round(u)) > 1e-6 * u; u *= 10) ++digits;
    std::string s = fmt::format("{:.{}f}", v, digits);
    const std::size_t sign = v < 0 ? 1 : 0;
    for (std::size_t at = std::min(s.find('.'), s.size()); at > sign + 3;) s.insert(at -= 3, ",");
    labels.push_back(s);
  }
  return labels;
}

std::string curve_svg(const Chart& c) {
  Range xs, ys;
  for (const Curve& curve : c.curves)
    for (const auto& p : curve.points)
      if (drawn(c, p)) xs.take(p.first), ys.take(p.second);
  const Scale x(widened(xs, false), kLeft, kWidth - kRight, false);
  const Scale y(padded(widened(ys, c.log_y), c.log_y), kHeight - kBottom, kTop, c.log_y);
  std::string lines;
  for (std::size_t i = 0; i < c.curves.size(); ++i)
    lines += fmt::format("<path d=\"{}\" class=\"{}\" stroke=\"{}\"/>\n", path_of(c, c.curves[i], x, y),
                         c.curves[i].faint ? "f" : "c", kColours[i % std::size(kColours)]);
  const double middle = (kTop + kHeight - kBottom) / 2;
  return fmt::format(
             "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" height=\"{1}\" "
             "font-family=\"Helvetica, Arial, 'DejaVu Sans', sans-serif\">\n"
             "<style>.g{{stroke:#e3e8ed}}.a{{stroke:#8b98a5;fill:none}}.x,.y,.l,.n{{font-size:12px;fill:#3c4a58}}"
             ".x,.n{{text-anchor:middle}}.y{{text-anchor:end}}.c,.f{{fill:none;stroke-linejoin:round;"
             "stroke-linecap:round}}.c{{stroke-width:2}}.f{{stroke-width:1;stroke-opacity:0.4}}</style>\n"
             "<rect width=\"{0}\" height=\"{1}\" fill=\"#ffffff\"/>\n"
             "<text x=\"{2}\" y=\"34\" font-size=\"16\" font-weight=\"bold\" fill=\"#1d2733\">{3}</text>\n",
             kWidth, kHeight, kLeft, for_xml(c.title)) +
         grid(x, y, c.log_y) + lines + legend(c) +
         fmt::format(
             "<text x=\"{}\" y=\"{}\" class=\"n\">{}</text>\n"
             "<text transform=\"translate(20 {}) rotate(-90)\" class=\"n\">{}</text>\n</svg>\n",
             (kLeft + kWidth - kRight) / 2, kHeight - 16, for_xml(c.x_label), middle, for_xml(c.y_label));
}

}  // namespace terrace::cli
