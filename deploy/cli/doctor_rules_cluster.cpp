// The doctor's rules on what is not this machine alone: the exit policy, and every worker of a cluster.
#include <set>

#include "deploy/cli/console.h"
#include "deploy/cli/doctor_rules.h"

namespace leadline::deploy {
namespace {

constexpr double kOldStepS = 20;  // as the alert LeadlineStepStuck
constexpr int kReady = 200;

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : "; ") + word;
  return out;
}

}  // namespace

Finding judge_policy(const std::optional<PolicyFacts>& policy) {
  if (!policy) return skipped("policy", "no model and no policy file given", "--policy FILE checks one");
  if (policy->path.empty())
    return skipped("policy", "no exit_policy.* beside the model: nobody drafts unless --speculation says so",
                   "leadline policy train makes one of logs");
  const std::string again = "train it again for this model (leadline policy train), or remove the file";
  if (!policy->error.empty())
    return problem("policy", policy->error,
                   "the worker logs that and nobody drafts; with file:PATH it does not start", again);
  if (policy->model_layers > 0 && policy->layers != policy->model_layers)
    return problem("policy",
                   policy->path + " is for " + std::to_string(policy->layers) + " layers, the model has " +
                       std::to_string(policy->model_layers),
                   "the worker refuses it and nobody drafts", again);
  return ok("policy", policy->path + ": " + (policy->provenance.empty() ? "loads" : policy->provenance));
}

Finding judge_workers(const std::optional<std::vector<WorkerFacts>>& workers) {
  if (!workers)
    return skipped("workers", "not asked for", "--worker HOST:ADMINPORT (or a name of all) checks them");
  std::vector<std::string> broken, losses;
  std::set<std::string> versions, policies;
  int ready = 0;
  for (const WorkerFacts& worker : *workers) {
    if (!worker.error.empty()) {
      broken.push_back(worker.address + ": " + worker.error);
      continue;
    }
    versions.insert(worker.version);
    policies.insert(worker.policy);
    if (worker.readyz == kReady) ++ready;
    if (worker.readyz != kReady) broken.push_back(worker.address + " is not ready: " + worker.why);
    if (worker.step_age_s > kOldStepS)
      broken.push_back(worker.address + ": a step runs for " + format_number(worker.step_age_s, 0) + " s");
    for (const std::string& tier : worker.tiers) losses.push_back(worker.address + ": KV tier " + tier);
  }
  if (versions.size() > 1) losses.push_back("versions differ: " + joined({versions.begin(), versions.end()}));
  if (policies.size() > 1)
    losses.push_back("exit policies differ: " + joined({policies.begin(), policies.end()}));
  const std::string what =
      std::to_string(ready) + " of " + std::to_string(workers->size()) + " workers ready";
  if (!broken.empty() || workers->empty())
    return problem("workers", what + (broken.empty() ? "" : "; " + joined(broken)),
                   "what they should serve waits, or goes to the others", "look at their logs and /startupz");
  if (!losses.empty())
    return advice("workers", what + "; " + joined(losses), "slower second turns, or answers at two speeds",
                  "docs/operations.md, by symptom");
  return ok("workers", what + ", version " + *versions.begin() + ", policy " + *policies.begin());
}

}  // namespace leadline::deploy
