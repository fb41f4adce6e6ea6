#pragma once
// FleetSnapshot: what the coordinator knew about its workers at one moment; the router's and admission's only
// view of them. Not live: a value, copied or borrowed for one decision. Thread: value.

#include <cstdint>
#include <string>
#include <vector>

#include "coordinator/fleet/worker_link.h"
#include "transport/control/ids.h"
#include "transport/control/messages.h"

namespace leadline::coordinator {

struct WorkerView {
  transport::WorkerId id;  // never reused while the coordinator lives
  std::string address;
  LinkState link = LinkState::connecting;
  transport::WorkerPhase phase = transport::WorkerPhase::unknown;
  bool draining = false;   // we asked it to, or it says so, or its name left the DNS answer
  bool stalled = false;    // work runs, but no step was completed for longer than FleetOptions::step_stall
  std::string last_error;  // why the link is not up
  std::string model_fingerprint, served_model_name;
  std::uint32_t max_model_len = 0, max_sequences = 0, vocab_size = 0, ranks = 0;
  std::uint64_t loaded_bytes = 0, total_bytes = 0;  // weights
  std::uint32_t running = 0, waiting = 0;           // sequences, from the last Status
  std::uint64_t waiting_tokens = 0;
  std::uint32_t pages_used = 0, pages_total = 0;
  std::uint32_t in_flight = 0;  // generations of this coordinator on the link, newer than the Status
  // May be given a request now.
  [[nodiscard]] bool ready() const {
    return link == LinkState::connected && phase == transport::WorkerPhase::ready && !draining && !stalled;
  }
  friend bool operator==(const WorkerView&, const WorkerView&) = default;
};

struct FleetSnapshot {
  std::vector<WorkerView> workers;  // ascending by id
  [[nodiscard]] const WorkerView* find(transport::WorkerId id) const {
    for (const WorkerView& worker : workers) {
      if (worker.id == id) return &worker;
    }
    return nullptr;
  }
  [[nodiscard]] std::size_t ready_workers() const {
    std::size_t count = 0;
    for (const WorkerView& worker : workers) count += worker.ready() ? 1 : 0;
    return count;
  }
};

}  // namespace leadline::coordinator
