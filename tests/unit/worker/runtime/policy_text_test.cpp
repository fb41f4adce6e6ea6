#include "worker/runtime/policy_text.h"

#include <gtest/gtest.h>

namespace leadline::worker {
namespace {

policy::Action start_of(const std::string& text) {
  const auto policy = policy_from_text(text, {{"m", 12}, "f", "/nonexistent"});
  EXPECT_TRUE(policy.has_value()) << policy.error().message;
  const std::vector<std::int32_t> exits = {2, 4, 6};
  policy::SequenceExperience experience;
  policy::DecisionPoint point;
  point.layers = 12;
  point.exits = exits;
  point.max_draft = 9;
  point.experience = &experience;
  return (*policy)->decide(point).mode();
}

TEST(PolicyText, NamesAPolicy) {
  EXPECT_EQ(start_of("off"), policy::Action{policy::ActionKind::plain});
  EXPECT_EQ(start_of("auto"), policy::Action{policy::ActionKind::plain});  // no file there
  EXPECT_EQ(start_of("static:4,3"), (policy::Action{policy::ActionKind::draft, 4, 3}));
  EXPECT_EQ(start_of("threshold:6,5,0.8"), (policy::Action{policy::ActionKind::draft, 6, 5}));
}

TEST(PolicyText, RefusesWhatItDoesNotKnow) {
  for (const char* text : {"", "on", "static", "static:", "static:4", "static:4,0", "static:0,4",
                           "static:4,17", "static:4,3,2", "static:4,x", "threshold:4,3", "threshold:4,3,1.5",
                           "threshold:4,3,nan", "off:1", "del:4", "file:", "file:/nonexistent"}) {
    const auto policy = policy_from_text(text, {{"m", 12}, "f", "/nonexistent"});
    ASSERT_FALSE(policy.has_value()) << text;
    EXPECT_EQ(policy.error().code, Errc::configuration);
    EXPECT_NE(policy.error().message.find("--speculation " + std::string(text) + ":"), std::string::npos);
  }
}

TEST(PolicyText, DelIsForWorkersThatSeeEveryExit) {
  const auto made = policy_from_text("del", {{"m", 12}, "f", "/nonexistent"});
  ASSERT_TRUE(made.has_value());
  EXPECT_TRUE((*made)->needs().shadows);
  const auto refused = policy_from_text("del", {{"m", 12}, "f", "/nonexistent", false});
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().message.find("--draft-ranks"), std::string::npos);
}

}  // namespace
}  // namespace leadline::worker
