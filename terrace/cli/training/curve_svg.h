// Curves as a picture: loss against steps.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace terrace::cli {

struct Curve {
  std::string name;
  std::vector<std::pair<double, double>> points;  ///< by rising x; what is not finite leaves a gap
  bool faint = false;                             ///< thin and pale: a noisy curve behind a smooth one
};

struct Chart {
  std::string title, x_label, y_label;
  bool log_y = false;  ///< points at or below zero leave a gap
  std::vector<Curve> curves;
};

/// A picture that needs nothing else, of a size that does not grow with the number of points.
std::string curve_svg(const Chart& chart);

/// Round numbers within [low, high], low < high: multiples of 1, 2 or 5 times a power of ten, at most `most` of them
/// (and at least most / 3).
std::vector<double> linear_ticks(double low, double high, int most);
/// For a logarithmic axis, 0 < low < high: powers of ten, or 1, 2 and 5 times these; linear ones where both are few.
std::vector<double> log_ticks(double low, double high, int most);
/// The numbers as text, each with as many digits as tell it from its neighbours: "0.5", "2,000", "1e-05".
std::vector<std::string> tick_labels(const std::vector<double>& ticks);

}  // namespace terrace::cli
