#pragma once
// Finding: one judgement of the doctor, and how each kind is made. Not the rules (doctor_rules*). Thread:
// values.

#include <string>
#include <utility>

namespace leadline::deploy {

enum class FindingStatus { ok, advice, problem, skipped };

struct Finding {
  std::string check;  // "cpu", "memory.bandwidth", …: stable names
  FindingStatus status = FindingStatus::ok;
  std::string what, cost, action;  // cost and action are "" when status is ok
};

inline Finding ok(std::string check, std::string what) {
  return {std::move(check), FindingStatus::ok, std::move(what), {}, {}};
}
inline Finding skipped(std::string check, std::string what, std::string action) {
  return {std::move(check), FindingStatus::skipped, std::move(what), {}, std::move(action)};
}
inline Finding advice(std::string check, std::string what, std::string cost, std::string action) {
  return {std::move(check), FindingStatus::advice, std::move(what), std::move(cost), std::move(action)};
}
inline Finding problem(std::string check, std::string what, std::string cost, std::string action) {
  return {std::move(check), FindingStatus::problem, std::move(what), std::move(cost), std::move(action)};
}

}  // namespace leadline::deploy
