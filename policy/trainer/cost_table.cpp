#include "policy/trainer/cost_table.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <set>
#include <sstream>

#include "policy/byte_file.h"

namespace leadline::policy {
namespace {

constexpr std::size_t kFileLimit = 1 << 20, kPointLimit = 4096;

tl::unexpected<Error> bad(const std::string& what) {
  return monitoring::fail(Errc::malformed_file, "cost table: " + what);
}

// Piecewise linear through (x, y), x ascending; beyond the ends along the last piece, never below 0.
double between(const std::vector<double>& x, const std::vector<double>& y, double at) {
  if (x.size() == 1) return y[0];
  std::size_t i = 1;
  while (i + 1 < x.size() && at > x[i]) ++i;
  const double slope = (y[i] - y[i - 1]) / (x[i] - x[i - 1]);
  if (at < x[0]) return y[0];  // less than one row or the shortest context: the same memory is read
  return std::max(0.0, y[i - 1] + slope * (at - x[i - 1]));
}

bool usable(const CostTable::Point& p) {
  return std::isfinite(p.rows) && std::isfinite(p.context) && std::isfinite(p.us) && p.rows > 0 &&
         p.context >= 0 && p.us > 0;
}

}  // namespace

double CostTable::layer_us(double rows, double context) const {
  if (rows <= 0) return 0;
  if (contexts_.size() == 1) return between(rows_, layer_[0], rows);
  std::vector<double> at_rows;
  at_rows.reserve(contexts_.size());
  for (const auto& by_rows : layer_) at_rows.push_back(between(rows_, by_rows, rows));
  return between(contexts_, at_rows, context);
}

double CostTable::head_us(double rows) const {
  return rows <= 0 ? 0 : between(head_rows_, head_, rows);
}

Result<CostTable> CostTable::make(std::int32_t layers, std::vector<Point> layer, std::vector<Point> head,
                                  double probe_us, double pass_us, std::string made_by) {
  CostTable table;
  table.layers_ = layers;
  table.probe_us_ = probe_us;
  table.pass_us_ = pass_us;
  table.made_by_ = std::move(made_by);
  if (layers < 1 || layers > 4096) return bad("layers = " + std::to_string(layers));
  if (layer.empty() || head.empty()) return bad("layer and head need at least one line each");
  if (!std::ranges::all_of(layer, usable) || !std::ranges::all_of(head, usable))
    return bad("rows and times must be positive numbers");
  if (!(probe_us >= 0 && pass_us >= 0)) return bad("probe and pass must be numbers >= 0");
  std::set<double> contexts, rows;
  for (const Point& p : layer) {
    contexts.insert(p.context);
    rows.insert(p.rows);
  }
  if (contexts.size() * rows.size() != layer.size())
    return bad("every context needs the same row counts, once");
  table.contexts_.assign(contexts.begin(), contexts.end());
  table.rows_.assign(rows.begin(), rows.end());
  std::ranges::sort(layer, {}, [](const Point& p) { return std::pair(p.context, p.rows); });
  for (std::size_t c = 0; c < contexts.size(); ++c) {
    auto& by_rows = table.layer_.emplace_back();
    for (std::size_t r = 0; r < rows.size(); ++r) {
      const Point& p = layer[c * rows.size() + r];
      if (p.rows != table.rows_[r]) return bad("every context needs the same row counts, once");
      by_rows.push_back(p.us);
    }
  }
  std::ranges::sort(head, {}, &Point::rows);
  for (const Point& p : head) {
    if (!table.head_rows_.empty() && table.head_rows_.back() == p.rows) return bad("head: a row count twice");
    table.head_rows_.push_back(p.rows);
    table.head_.push_back(p.us);
  }
  return table;
}

Result<CostTable> CostTable::parse(std::string_view text) {
  std::istringstream lines{std::string(text)};
  std::string line, made_by, model;
  std::vector<Point> layer, head;
  double probe = 0, pass = 0;
  std::int32_t layers = 0;
  for (int number = 1; std::getline(lines, line); ++number) {
    std::istringstream fields(line);
    std::string kind;
    if (!(fields >> kind) || kind[0] == '#') continue;
    Point p;
    if (kind == "made_by")
      std::getline(fields >> std::ws, made_by);
    else if (kind == "model")
      fields >> model;
    else if (kind == "layers")
      fields >> layers;
    else if (kind == "layer" && fields >> p.rows >> p.context >> p.us)
      layer.push_back(p);
    else if (kind == "head" && fields >> p.rows >> p.us)
      head.push_back(p);
    else if (kind == "probe")
      fields >> probe;
    else if (kind == "pass")
      fields >> pass;
    else
      fields.setstate(std::ios::failbit);
    if (fields.fail())
      return bad("line " + std::to_string(number) + " is not understood: " + line.substr(0, 80));
    if (layer.size() + head.size() > kPointLimit)
      return bad("more than " + std::to_string(kPointLimit) + " points");
  }
  auto table = make(layers, std::move(layer), std::move(head), probe, pass, std::move(made_by));
  if (table) table->set_model(std::move(model));
  return table;
}

Result<CostTable> CostTable::load(const std::string& path) {
  const auto bytes = read_file(path, kFileLimit);
  if (!bytes) return tl::unexpected(bytes.error());
  return parse({reinterpret_cast<const char*>(bytes->data()), bytes->size()});
}

std::string CostTable::text() const {
  std::ostringstream out;
  out << "# Microseconds: a layer by rows and context, the head by rows, a probe of one row, a pass.\n";
  if (!made_by_.empty()) out << "made_by " << made_by_ << '\n';
  if (!model_.empty()) out << "model " << model_ << '\n';
  out << "layers " << layers_ << '\n';
  for (std::size_t c = 0; c < contexts_.size(); ++c)
    for (std::size_t r = 0; r < rows_.size(); ++r)
      out << "layer " << rows_[r] << ' ' << contexts_[c] << ' ' << layer_[c][r] << '\n';
  for (std::size_t r = 0; r < head_rows_.size(); ++r)
    out << "head " << head_rows_[r] << ' ' << head_[r] << '\n';
  out << "probe " << probe_us_ << "\npass " << pass_us_ << '\n';
  return out.str();
}

}  // namespace leadline::policy
