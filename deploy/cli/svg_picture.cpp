#include "deploy/cli/svg_picture.h"

#include <algorithm>
#include <cstdio>

namespace leadline::deploy {
namespace {

constexpr int kWidth = 720, kHeight = 300, kLeft = 70, kBottom = 50, kTop = 40;

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '&')
      out += "&amp;";
    else
      out += c;
  }
  return out;
}

std::string number(double value, const char* format = "%.1f") {
  char text[48];
  (void)std::snprintf(text, sizeof text, format, value);
  return text;
}

std::string text_at(double x, double y, const std::string& text, const char* anchor = "middle") {
  return "<text x=\"" + number(x) + "\" y=\"" + number(y) + "\" text-anchor=\"" + anchor + "\">" +
         escaped(text) + "</text>\n";
}

std::string begin(int width, int height, const std::string& title) {
  return "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " + std::to_string(width) + " " +
         std::to_string(height) +
         "\" font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" "
         "fill=\"#fff\"/>\n<g font-size=\"15\">" +
         text_at(width / 2.0, 22, title) + "</g>\n";
}

}  // namespace

std::string svg_curve(const std::string& title, const std::string& x_name, const std::string& y_name,
                      const std::vector<std::pair<int, float>>& points) {
  std::string out = begin(kWidth, kHeight, title);
  double most_x = 1, most_y = 1e-9;
  for (const auto& [x, y] : points) {
    most_x = std::max(most_x, static_cast<double>(x));
    most_y = std::max(most_y, static_cast<double>(y));
  }
  const double wide = kWidth - kLeft - 20, high = kHeight - kTop - kBottom, floor = kHeight - kBottom;
  for (int tick = 0; tick <= 4; ++tick) {
    const double y = floor - high * tick / 4, x = kLeft + wide * tick / 4;
    out += "<line x1=\"" + std::to_string(kLeft) + "\" x2=\"" + number(kLeft + wide) + "\" y1=\"" +
           number(y) + "\" y2=\"" + number(y) + "\" stroke=\"#ddd\"/>\n";
    out += text_at(kLeft - 8, y + 4, number(most_y * tick / 4, "%.3g"), "end");
    out += text_at(x, floor + 18, number(most_x * tick / 4, "%.0f"));
  }
  out += text_at(kLeft + wide / 2, kHeight - 12, x_name) + text_at(kLeft, kTop - 8, y_name);
  out += "<polyline fill=\"none\" stroke=\"#1f6feb\" stroke-width=\"2\" points=\"";
  for (const auto& [x, y] : points)
    out += number(kLeft + wide * x / most_x) + "," + number(floor - high * static_cast<double>(y) / most_y) +
           " ";
  return out + "\"/>\n</svg>\n";
}

std::string svg_bars(const std::string& title, const std::vector<std::string>& columns,
                     const std::vector<BarRow>& rows) {
  constexpr int kRow = 64, kName = 170;
  const int cell = std::clamp(560 / std::max(1, static_cast<int>(columns.size())), 18, 60);
  const int width = kName + cell * static_cast<int>(columns.size()) + 20;
  const int height = kTop + kRow * static_cast<int>(rows.size()) + 40;
  std::string out = begin(std::max(width, 420), height, title);
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const double floor = kTop + kRow * static_cast<double>(r + 1) - 8;
    out += text_at(kName - 12, floor - 14, rows[r].name, "end");
    for (std::size_t c = 0; c < rows[r].shares.size() && c < columns.size(); ++c) {
      const double bar = (kRow - 26) * std::clamp(rows[r].shares[c], 0.0, 1.0),
                   x = kName + cell * static_cast<double>(c);
      out += "<rect x=\"" + number(x + 2) + "\" y=\"" + number(floor - bar) + "\" width=\"" +
             std::to_string(cell - 4) + "\" height=\"" + number(std::max(bar, 0.5)) +
             "\" fill=\"#1f6feb\"/>\n";
      if (rows[r].shares[c] >= 0.05)
        out += "<g font-size=\"9\">" +
               text_at(x + cell / 2.0, floor - bar - 3, number(100 * rows[r].shares[c], "%.0f")) + "</g>\n";
    }
  }
  for (std::size_t c = 0; c < columns.size(); ++c)
    out += text_at(kName + cell * (static_cast<double>(c) + 0.5), height - 22, columns[c]);
  return out + "</svg>\n";
}

}  // namespace leadline::deploy
