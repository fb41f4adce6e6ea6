#pragma once
// ProcessHealth: what /livez, /readyz and /startupz say about this process, as values that the owner sets and
// the admin thread reads. Not a monitor: it asks nobody and waits for nobody. Thread: setters from any
// thread, readers on the admin thread; numbers are atomics, the one string has a short lock that is never
// held across a wait. Invariants: startup is complete from the first `ready` on and stays so; live turns
// false only on a stalled step or `failed`.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>

namespace leadline::monitoring {

enum class StartupPhase : std::uint8_t { starting, loading, warming, ready, draining, failed };
inline constexpr std::string_view kStartupPhaseNames[] = {"starting", "loading",  "warming",
                                                          "ready",    "draining", "failed"};
std::string_view to_string(StartupPhase phase);

struct HealthAnswer {
  bool ok = false;
  std::string json;  // the body, one object
};

class ProcessHealth {
 public:
  using Clock = std::chrono::steady_clock;
  ProcessHealth();

  void set_phase(StartupPhase phase);
  [[nodiscard]] StartupPhase phase() const;
  void set_progress(std::uint64_t done_bytes, std::uint64_t total_bytes);  // of loading weights

  // Serving needs more than the phase: a coordinator without a ready worker is `ready` (phase) but not
  // available. `reason` is for people: no addresses, no secrets. Default: available.
  void set_available(bool available, std::string_view reason = {});

  // The heartbeat: call both around every step. A step older than stall_limit makes /livez answer 503. 0 =
  // never.
  void set_stall_limit(std::chrono::milliseconds limit);
  void step_started(Clock::time_point now = Clock::now());
  void step_ended();
  [[nodiscard]] double step_age_seconds(Clock::time_point now = Clock::now()) const;  // 0 while idle

  [[nodiscard]] HealthAnswer live(Clock::time_point now = Clock::now()) const;
  [[nodiscard]] HealthAnswer ready(Clock::time_point now = Clock::now()) const;
  [[nodiscard]] HealthAnswer startup(
      Clock::time_point now = Clock::now()) const;  // phase, bytes, progress 0..1

 private:
  const Clock::time_point started_;  // constant after construction
  // atomics
  std::atomic<StartupPhase> phase_{StartupPhase::starting};
  std::atomic<bool> was_ready_{false}, available_{true};
  std::atomic<std::uint64_t> done_bytes_{0}, total_bytes_{0}, steps_{0};
  std::atomic<std::int64_t> step_started_ns_{0}, stall_limit_ns_{0}, ready_after_ms_{-1};
  // guarded by reason_lock_
  mutable std::mutex reason_lock_;
  std::string reason_;
};

}  // namespace leadline::monitoring
