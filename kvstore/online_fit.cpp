#include "kvstore/online_fit.h"

#include <algorithm>
#include <cmath>

namespace leadline::kvstore {
namespace {

constexpr double kTiny = 1e-12;
constexpr double kPriorWeight = 0.02;
constexpr double kSurprise = 3.0;       // in spreads
constexpr double kLeastSurprise = 0.5;  // and at least half again as long, or a third shorter

}  // namespace

// Least squares of (a u + b v) / y against 1. The prior is scaled to the times that are seen now: it decides
// only what the observations leave open.
void OnlineFit::solve() {
  double uu = 0, uv = 0, vv = 0, uy = 0, vy = 0, su = 0, sv = 0, weight = 1;
  for (auto it = seen_.rbegin(); it != seen_.rend(); ++it, weight *= kForget) {
    const double u = it->u / it->y, v = it->v / it->y;
    uu += weight * u * u;
    uv += weight * u * v;
    vv += weight * v * v;
    uy += weight * u;
    vy += weight * v;
    su = std::max(su, u);
    sv = std::max(sv, v);
  }
  const double wu = kPriorWeight * su * su, wv = kPriorWeight * sv * sv;
  uu += wu;
  uy += wu * prior_a_;
  vv += wv;
  vy += wv * prior_b_;
  const double det = uu * vv - uv * uv;
  if (det > 1e-9 * uu * vv) {
    a_ = (uy * vv - vy * uv) / det;
    b_ = (vy * uu - uy * uv) / det;
  } else {
    a_ = uu > 0 ? uy / uu : prior_a_;
    b_ = uu > 0 ? 0 : vy / vv;
  }
  if (a_ < 0) {
    a_ = 0;
    b_ = vy / vv;
  } else if (b_ < 0) {
    b_ = 0;
    a_ = uy / uu;
  }
}

void OnlineFit::observe(double u, double v, double y) {
  if (!(y >= 1e-9) || !(y <= 1e9) || !(u >= 0) || !(v >= 0) || u + v <= 0) return;
  const double error = y / predict(u, v) - 1;
  const double bound = std::max(kSurprise * spread_, kLeastSurprise);
  const bool slower = error > bound, faster = error < -bound / (1 + bound);
  surprises_ = slower ? std::max(surprises_, 0) + 1 : faster ? std::min(surprises_, 0) - 1 : 0;
  seen_.push_back({u, v, y});
  if (seen_.size() > kKept) seen_.pop_front();
  if (surprises_ >= 2 || surprises_ <= -2) {
    while (seen_.size() > 2) seen_.pop_front();
    surprises_ = 0;
    spread_ = 0.5;
  } else {
    const double square = kForget * spread_ * spread_ + (1 - kForget) * std::min(error * error, 16.0);
    spread_ = std::clamp(std::sqrt(square), kMinSpread, kMaxSpread);
  }
  solve();
}

double OnlineFit::predict(double u, double v) const {
  return std::max(a_ * u + b_ * v, kTiny);
}

}  // namespace leadline::kvstore
