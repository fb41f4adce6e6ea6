#include "monitoring/process_health.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace leadline::monitoring {
namespace {

std::int64_t to_ns(ProcessHealth::Clock::time_point at) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(at.time_since_epoch()).count();
}

HealthAnswer answer(bool ok, const nlohmann::ordered_json& body) {
  return {ok, body.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n"};
}

}  // namespace

std::string_view to_string(StartupPhase phase) {
  return kStartupPhaseNames[static_cast<std::size_t>(phase)];
}

ProcessHealth::ProcessHealth() : started_(Clock::now()) {}

void ProcessHealth::set_phase(StartupPhase phase) {
  phase_.store(phase);
  if (phase == StartupPhase::ready && !was_ready_.exchange(true)) {
    ready_after_ms_.store(
        std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - started_).count());
  }
}

StartupPhase ProcessHealth::phase() const {
  return phase_.load();
}

void ProcessHealth::set_progress(std::uint64_t done_bytes, std::uint64_t total_bytes) {
  total_bytes_.store(total_bytes);
  done_bytes_.store(done_bytes);
}

void ProcessHealth::set_available(bool available, std::string_view reason) {
  const std::lock_guard guard(reason_lock_);
  reason_ = reason;
  available_.store(available);
}

void ProcessHealth::set_stall_limit(std::chrono::milliseconds limit) {
  stall_limit_ns_.store(std::chrono::nanoseconds(limit).count());
}

void ProcessHealth::step_started(Clock::time_point now) {
  step_started_ns_.store(to_ns(now));
}

void ProcessHealth::step_ended() {
  step_started_ns_.store(0);
  steps_.fetch_add(1, std::memory_order_relaxed);
}

double ProcessHealth::step_age_seconds(Clock::time_point now) const {
  const std::int64_t since = step_started_ns_.load();
  return since == 0 ? 0.0 : std::max(0.0, static_cast<double>(to_ns(now) - since) * 1e-9);
}

HealthAnswer ProcessHealth::live(Clock::time_point now) const {
  const double age = step_age_seconds(now);
  const std::int64_t limit_ns = stall_limit_ns_.load();
  const bool stalled = limit_ns > 0 && age > static_cast<double>(limit_ns) * 1e-9;
  const bool ok = !stalled && phase() != StartupPhase::failed;
  return answer(ok, {{"live", ok},
                     {"phase", to_string(phase())},
                     {"steps", steps_.load(std::memory_order_relaxed)},
                     {"step_age_seconds", age},
                     {"stalled", stalled}});
}

HealthAnswer ProcessHealth::ready(Clock::time_point now) const {
  const bool in_phase = phase() == StartupPhase::ready;
  const bool ok = in_phase && available_.load() && live(now).ok;
  std::string reason;
  if (!in_phase) {
    reason = "phase is " + std::string(to_string(phase()));
  } else if (!ok) {
    const std::lock_guard guard(reason_lock_);
    reason = !available_.load() ? (reason_.empty() ? "not available" : reason_) : "stalled";
  }
  nlohmann::ordered_json body = {{"ready", ok}, {"phase", to_string(phase())}};
  if (!ok) body["reason"] = reason;
  return answer(ok, body);
}

HealthAnswer ProcessHealth::startup(Clock::time_point now) const {
  const bool ok = was_ready_.load();
  const std::uint64_t done = done_bytes_.load(), total = total_bytes_.load();
  const std::int64_t after_ms = ready_after_ms_.load();
  const double elapsed = after_ms >= 0 ? static_cast<double>(after_ms) * 1e-3
                                       : std::chrono::duration<double>(now - started_).count();
  const double progress = ok          ? 1.0
                          : total > 0 ? std::min(1.0, static_cast<double>(done) / static_cast<double>(total))
                                      : 0.0;
  return answer(ok, {{"started", ok},
                     {"phase", to_string(phase())},
                     {"loaded_bytes", done},
                     {"total_bytes", total},
                     {"progress", progress},
                     {"startup_seconds", elapsed}});
}

}  // namespace leadline::monitoring
