#pragma once
// GatedTier: a memory tier that says it does I/O, with gates before its loads and stores, for tests of what
// stands on tiers that hang. Thread: any, as a tier. Invariants: a closed gate holds a call beyond its
// deadline; a test opens its gates before the store goes.

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <string>

#include "kvstore/memory_tier.h"

namespace leadline::tests {

class GatedTier final : public kvstore::Tier {
 public:
  explicit GatedTier(kvstore::TierKind kind)
      : kind_(kind), inner_({std::uint64_t{64} << 20, {}, {}, kvstore::unix_now_s}) {}
  [[nodiscard]] kvstore::TierKind kind() const override { return kind_; }
  [[nodiscard]] bool waits() const override { return true; }
  void get(std::span<const kvstore::BlockId> ids, std::span<kvstore::TierRead> reads,
           kvstore::TierDeadline deadline) override {
    pass_load();
    gets_ += static_cast<int>(ids.size());
    order_ += 'g';
    if (breaks_) {
      for (kvstore::TierRead& read : reads) read = {kvstore::GetOutcome::unavailable, nullptr};
      return;
    }
    if (gives_up_) {
      std::unique_lock lock(mutex_);
      changed_.wait_until(lock, deadline, [] { return false; });
      for (kvstore::TierRead& read : reads) read = {kvstore::GetOutcome::unavailable, nullptr};
      return;
    }
    inner_.get(ids, reads, deadline);
  }
  void expect(std::span<const kvstore::BlockId> ids) override {
    if (!ids.empty()) order_ += 'e';
  }
  // e: blocks were announced, g: blocks were read. For a test that waited for the loads.
  [[nodiscard]] const std::string& order() const { return order_; }
  [[nodiscard]] std::size_t leading(std::span<const kvstore::BlockId> ids,
                                    kvstore::TierDeadline deadline) override {
    return inner_.leading(ids, deadline);
  }
  kvstore::PutOutcome put(const kvstore::BlockPtr& block, kvstore::TierDeadline deadline) override {
    pass(stores_open_);
    return inner_.put(block, deadline);
  }
  bool erase(const kvstore::BlockId& id, kvstore::TierDeadline deadline) override {
    return inner_.erase(id, deadline);
  }
  [[nodiscard]] kvstore::TierUsage usage() const override { return inner_.usage(); }
  [[nodiscard]] kvstore::TierState state() const override {
    return breaks_ ? kvstore::TierState::down : kvstore::TierState::ok;
  }
  [[nodiscard]] std::string why() const override { return {}; }

  void open_loads(bool open) { set(loads_open_, open); }
  void give_up(bool so) { gives_up_ = so; }   // reads end at their deadline, with nothing
  void break_down(bool so) { breaks_ = so; }  // reads end at once with nothing, the tier is down
  void let_loads_pass(int loads) {            // so many calls, whether the gate is open or not
    {
      std::lock_guard lock(mutex_);
      permits_ += loads;
    }
    changed_.notify_all();
  }
  void open_stores(bool open) { set(stores_open_, open); }
  [[nodiscard]] int gets() const { return gets_.load(); }

 private:
  void pass_load() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return loads_open_ || permits_ > 0; });
    if (!loads_open_) --permits_;
  }
  void pass(const bool& gate) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return gate; });
  }
  void set(bool& gate, bool open) {
    {
      std::lock_guard lock(mutex_);
      gate = open;
    }
    changed_.notify_all();
  }
  const kvstore::TierKind kind_;
  kvstore::MemoryTier inner_;
  std::atomic<int> gets_{0};
  std::atomic<bool> gives_up_{false}, breaks_{false};
  std::string order_;  // of the loading thread
  std::mutex mutex_;
  std::condition_variable changed_;
  bool loads_open_ = true, stores_open_ = true;
  int permits_ = 0;
};

}  // namespace leadline::tests
