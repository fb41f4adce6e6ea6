#pragma once
// PolicyControl: the admin port's /policy: GET says which exit policy decides, POST puts another: its body is
// what --speculation takes. A body or file that is wrong changes nothing. POST /policy/training
// notes how a training ended, for the metrics: a job that is gone can be asked nothing. Not the decision
// (policy/) and not its use (round_director). Thread: the admin thread's handlers; serve() once, by the main
// thread. Guarded by its mutex: what may be served.

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "monitoring/admin_server.h"
#include "worker/runtime/policy_slot.h"
#include "worker/runtime/policy_text.h"
#include "worker/runtime/speculation_metrics.h"

namespace leadline::worker {

class PolicyControl {
 public:
  // From now on POST is answered; before: 503.
  void serve(PolicySource source, std::string text, std::shared_ptr<const policy::ExitPolicy> first);
  [[nodiscard]] PolicySlot& slot() { return slot_; }
  // This and `metrics` must outlive the server.
  [[nodiscard]] std::vector<monitoring::AdminRoute> routes(const SpeculationMetrics& metrics);

 private:
  monitoring::AdminResponse show();
  monitoring::AdminResponse put(const monitoring::AdminRequest& request);

  static monitoring::AdminResponse note(const monitoring::AdminRequest& request,
                                        const SpeculationMetrics& metrics);

  PolicySlot slot_{nullptr};
  std::mutex mutex_;
  // guarded by mutex_
  bool serving_ = false;
  PolicySource source_;
  std::string text_;
};

}  // namespace leadline::worker
