#pragma once
// OnlineFit: y = a u + b v learned from a stream, with a, b >= 0: the recent past weighs more, errors count
// relative to y, so a millisecond and a second teach alike. For times of transfers (u = 1, v = bytes) and of
// prefill (u = tokens, v = tokens * position). Weighted least squares over the last kKept observations
// (exponential weights), drawn a little to what was believed before, so that observations of one size still
// give a line; and a change detector: two surprises in a row in one direction, and only these two count.
// Not a clock; a value. Thread: the owner's.
// Invariants: predict() > 0 and finite for u, v >= 0 that are not both 0; spread() in [kMinSpread,
// kMaxSpread].

#include <cstddef>
#include <deque>

namespace leadline::kvstore {

class OnlineFit {
 public:
  // Before any observation: a0 u + b0 v.
  OnlineFit(double a0, double b0) : prior_a_(a0), prior_b_(b0), a_(a0), b_(b0) {}
  void observe(double u, double v, double y);  // y > 0, else ignored
  [[nodiscard]] double predict(double u, double v) const;
  [[nodiscard]] double spread() const { return spread_; }  // of y / predict - 1: a standard deviation
  [[nodiscard]] double a() const { return a_; }
  [[nodiscard]] double b() const { return b_; }

  static constexpr double kForget = 0.9;  // weight of the past per observation
  static constexpr std::size_t kKept = 24;
  static constexpr double kMinSpread = 0.05, kMaxSpread = 4.0;

 private:
  struct Observation {
    double u, v, y;
  };
  void solve();
  double prior_a_, prior_b_;
  std::deque<Observation> seen_;  // newest last
  double a_, b_;
  double spread_ = 0.5;
  int surprises_ = 0;  // in a row; their sign is the direction
};

}  // namespace leadline::kvstore
