#pragma once
// Fleet: the workers that this coordinator knows: fixed addresses, and names that are resolved again and
// again. Owns their links. Not a router: it hands out snapshots and links, and chooses nothing.
//
// Thread: the coordinator's io_context thread.
// Invariants: a WorkerId is given once and never reused; a worker whose address left the DNS answer drains:
// it gets nothing new, and its link is closed when its last generation has ended.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "coordinator/errc.h"
#include "coordinator/fleet/fleet_snapshot.h"
#include "coordinator/fleet/worker_link.h"

namespace leadline::coordinator {

struct FleetOptions {
  std::vector<std::string> workers;      // HOST:PORT, one link each
  std::vector<std::string> workers_dns;  // NAME:PORT, one link per address that the name resolves to
  std::chrono::milliseconds dns_period{5'000};
  std::size_t max_workers = 1'024;  // links in all; further addresses are logged and left out
  std::chrono::milliseconds step_stall{
      30'000};  // a worker with running sequences and an older last step is stalled
  transport::ControlClientOptions client;  // template for every link; address is filled in
  std::size_t max_in_flight_per_worker = 4'096;
};

class Fleet {
 public:
  // on_change: called on the thread, never from inside a call, when the snapshot differs.
  static Result<std::unique_ptr<Fleet>> open(boost::asio::io_context& io, FleetOptions options,
                                             std::function<void()> on_change);
  virtual ~Fleet() = default;  // links close; open sinks get on_link_lost

  // Current view; in_flight counts are of this moment. Valid until the next call on the thread's event loop:
  // copy to keep.
  virtual const FleetSnapshot& snapshot() = 0;
  // The link of a worker, or null when it is gone. Valid until control returns to the event loop.
  virtual WorkerLink* link(transport::WorkerId id) = 0;
};

}  // namespace leadline::coordinator
