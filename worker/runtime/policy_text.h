#pragma once
// policy_from_text: an exit policy as people name it in flags and on the admin port: "off", "static:E,K" (K
// drafts from layer E), "threshold:E,K,T" (at most K drafts from layer E while the likeliest token has
// probability >= T), "del", "file:PATH" (policy/policy_file), "auto" (exit_policy.* beside the model; off
// without one). Thread: any; reads files, keeps nothing.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "policy/exit_policy.h"
#include "policy/policy_file.h"
#include "worker/errc.h"

namespace leadline::worker {

struct PolicySource {
  policy::ServedModel model;    // a file must be for it
  std::string fingerprint;      // or name this: the model as it is packed here
  std::string model_directory;  // where "auto" looks
  bool shadows = true;          // exits of verified rows can be read (DEL)
};

// configuration: what is wrong with which part, or with the file.
Result<std::shared_ptr<const policy::ExitPolicy>> policy_from_text(const std::string& text,
                                                                   const PolicySource& source);

// Exits of the policy file that `text` names, each below `layers`; none: it names no file that can be read.
// What candidates a worker has where --exits says nothing, so that a learned policy finds its own.
std::vector<std::int32_t> exits_of_policy(const std::string& text, const std::string& model_directory,
                                          std::int32_t layers);

}  // namespace leadline::worker
