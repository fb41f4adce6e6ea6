#pragma once
// CostTable: measured time of a layer and of the head by rows and context, of one model on one backend: what
// the reward charges. Not a model of the machine: between measured points it is linear, beyond them it goes
// on like the last two. Text file (docs/formats/trajectory.md has it beside the logs). Thread: immutable
// value.

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "policy/errc.h"

namespace leadline::policy {

class CostTable {
 public:
  struct Point {
    double rows = 0, context = 0, us = 0;
  };
  // Microseconds. rows > 0; 0 rows cost nothing.
  [[nodiscard]] double layer_us(double rows, double context) const;
  [[nodiscard]] double head_us(double rows) const;             // final norm and head
  [[nodiscard]] double probe_us() const { return probe_us_; }  // softmax statistics and draw of one row
  [[nodiscard]] double pass_us() const { return pass_us_; }    // of a pass, whatever its layers
  [[nodiscard]] std::int32_t layers() const { return layers_; }
  [[nodiscard]] const std::string& made_by() const { return made_by_; }
  [[nodiscard]] const std::string& model() const { return model_; }  // identity; may be empty
  void set_model(std::string identity) { model_ = std::move(identity); }

  // Lines: `made_by TEXT`, `model IDENTITY`, `layers N`, `layer ROWS CONTEXT US`, `head ROWS US`, `probe US`,
  // `pass US`; # comments.
  static Result<CostTable> parse(std::string_view text);
  static Result<CostTable> load(const std::string& path);
  [[nodiscard]] std::string text() const;

  // Points in any order; every context has the same row counts. configuration if not.
  static Result<CostTable> make(std::int32_t layers, std::vector<Point> layer, std::vector<Point> head,
                                double probe_us, double pass_us, std::string made_by);

 private:
  std::int32_t layers_ = 0;
  std::vector<double> contexts_, rows_;     // ascending
  std::vector<std::vector<double>> layer_;  // (contexts, rows)
  std::vector<double> head_rows_, head_;    // ascending
  double probe_us_ = 0, pass_us_ = 0;
  std::string made_by_, model_;
};

}  // namespace leadline::policy
