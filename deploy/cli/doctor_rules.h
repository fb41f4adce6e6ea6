#pragma once
// doctor_rules: facts -> findings. Each says what was found, what it costs and what to do. Not probing
// (doctor_probes_*) and not printing (doctor). Thread: pure. Invariants: every check yields exactly one
// finding, in a fixed order; `problem` means that serving will fail or is not what was asked for, `advice`
// that it works with a loss.

#include <optional>
#include <string>
#include <vector>

#include "deploy/cli/doctor_facts.h"
#include "deploy/cli/doctor_finding.h"

namespace leadline::deploy {

std::vector<Finding> judge(const DoctorFacts& facts);
// Parts of judge(), in doctor_rules_cluster.cpp.
Finding judge_policy(const std::optional<PolicyFacts>& policy);
Finding judge_workers(const std::optional<std::vector<WorkerFacts>>& workers);
bool is_healthy(const std::vector<Finding>& findings);  // no problem among them

// "ok", "advice", "problem", "skipped".
const char* status_name(FindingStatus status);
// {"schema": 1, "version", "healthy", "findings": [{check, status, what, cost, action}]}. Fields are added,
// never renamed.
std::string to_json(const std::vector<Finding>& findings);

}  // namespace leadline::deploy
