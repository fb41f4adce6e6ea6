#pragma once
// policy_from_text: an exit policy as people name it in flags: "off", "static:E,K" (K drafts from layer E),
// "threshold:E,K,T" (at most K drafts from layer E while the likeliest token has probability >= T). Not files
// (policy/policy_file). Thread: any; pure.

#include <memory>
#include <string>

#include "policy/exit_policy.h"
#include "worker/errc.h"

namespace leadline::worker {

// configuration: what is wrong with which part.
Result<std::shared_ptr<const policy::ExitPolicy>> policy_from_text(const std::string& text);

}  // namespace leadline::worker
