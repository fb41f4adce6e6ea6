#pragma once
// SVG pictures of the policy commands: a curve over steps, and bars of shares. Not a plotting library: two
// kinds of picture, written by hand. Thread: pure.

#include <string>
#include <utility>
#include <vector>

namespace leadline::deploy {

// Values over x as one line, with axes, ticks and a title.
std::string svg_curve(const std::string& title, const std::string& x_name, const std::string& y_name,
                      const std::vector<std::pair<int, float>>& points);

struct BarRow {
  std::string name;
  std::vector<double> shares;  // of each column; at most 1
};
// Rows of columns, each cell a bar as high as its share: which exits and lengths each task gets.
std::string svg_bars(const std::string& title, const std::vector<std::string>& columns,
                     const std::vector<BarRow>& rows);

}  // namespace leadline::deploy
