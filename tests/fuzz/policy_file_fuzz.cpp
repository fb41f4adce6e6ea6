// Policy files and trajectory logs: whatever the bytes are, what comes out can be used, and is written back
// the same.
#include <cstddef>
#include <cstdint>
#include <span>

#include "monitoring/check.h"
#include "policy/policy_file.h"
#include "policy/trajectory_log.h"

using namespace leadline::policy;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  if (const auto file = policy_from_bytes(bytes)) {
    LEADLINE_CHECK(file->model.valid(), "a file that was read is whole");
    DecisionPoint point;
    const SequenceExperience experience;
    point.layers = file->model.layers;
    point.exits = file->model.exits;
    point.max_draft = 4;
    point.experience = &experience;
    const auto policy = make_learned_policy(file->model);
    LEADLINE_CHECK(is_legal(point, policy->decide(point).mode()), "its policy decides");
    const auto again = policy_to_bytes(*file);
    LEADLINE_CHECK(again.size() == size, "written as it was read");
  } else {
    LEADLINE_CHECK(!file.error().message.empty(), "an error says what is wrong");
  }
  if (const auto log = trajectories_from_bytes(bytes))
    for (const Trajectory& round : log->rounds)
      LEADLINE_CHECK(!round.decisions.empty() && round.accepted <= round.drafted,
                     "a round that was read can be used");
  return 0;
}
