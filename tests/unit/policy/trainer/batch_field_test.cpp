#include "policy/trainer/batch_field.h"

#include <gtest/gtest.h>

#include "policy/fixed_policy.h"
#include "tests/unit/policy/trainer/trace_samples.h"

namespace leadline::policy {
namespace {

constexpr double kContext = 110;

Company shown(const DecodeTrace& trace, const ExitPolicy& policy, std::int32_t batch) {
  return replay(trace, answers_of(trace), policy, flat_costs(), {.batch = batch, .max_draft = 4, .sink = {}})
      .company;
}

// Every sequence drafts twice from exit 2 in every step: rows ride along for their probes alone (costs here
// do not grow with rows), and what is left of a step is shared.
TEST(BatchField, WhoDraftsBesideDraftersPaysForNoPass) {
  const DecodeTrace trace = trace_of(std::vector<std::string>(4, std::string(41, '1')));
  const CostTable costs = flat_costs();
  const Company company = shown(trace, *make_static_policy(2, 2), 4);
  const BatchField field(trace, costs, 4, company, kContext);
  EXPECT_NEAR(field.pass_us(1), 0, 0.1);
  EXPECT_NEAR(field.layers_us(1, 0, 2, kContext), 0, 0.1);
  EXPECT_NEAR(field.head_us(1, 2), 1, 0.5);
  EXPECT_DOUBLE_EQ(field.layers_us(1, 2, 6, kContext), 40) << "nobody else goes that far";
  EXPECT_DOUBLE_EQ(field.layers_us(5, 0, 2, kContext), 20) << "nor so often";
}

TEST(BatchField, WhoDraftsBesidePlainDecodingPaysForAll) {
  const DecodeTrace trace = trace_of(std::vector<std::string>(4, std::string(41, '1')));
  const CostTable costs = flat_costs();
  const BatchField field(trace, costs, 4, shown(trace, *make_off_policy(), 4), kContext);
  EXPECT_DOUBLE_EQ(field.pass_us(1), 3);
  EXPECT_DOUBLE_EQ(field.layers_us(1, 0, 2, kContext), 20);
  EXPECT_DOUBLE_EQ(field.head_us(1, 2), 21);
  EXPECT_NEAR(field.verify_us(0, 1, kContext), 1, 1e-9) << "its row costs a probe";
  EXPECT_NEAR(field.step_us(), (3 + 100 + 20) / 4.0, 1e-9);
}

// The header's invariant, where all rounds are alike: a step of four is what four rounds add and four parts.
TEST(BatchField, RoundsAndPartsMakeUpTheStep) {
  const DecodeTrace trace = trace_of(std::vector<std::string>(4, std::string(61, '1')));
  const CostTable costs = flat_costs();
  const Company company = shown(trace, *make_static_policy(2, 2), 4);
  const BatchField field(trace, costs, 4, company, kContext);
  double us = field.step_us() + field.verify_us(2, 3, kContext);
  for (const std::int32_t pass : {1, 2, 3}) us += field.pass_us(pass) + field.layers_us(pass, 0, 2, kContext);
  us += field.head_us(1, 2) + field.head_us(2, 2);
  EXPECT_NEAR(4 * us, company.us / company.steps, 0.02 * company.us / company.steps);
}

TEST(BatchField, AloneEverythingIsTheTable) {
  const DecodeTrace trace = trace_of({"11"});
  const CostTable costs = flat_costs();
  const BatchField field(trace, costs);
  EXPECT_EQ(field.batch(), 1);
  EXPECT_DOUBLE_EQ(field.pass_us(3), 3);
  EXPECT_DOUBLE_EQ(field.layers_us(3, 2, 6, kContext), 40);
  EXPECT_DOUBLE_EQ(field.head_us(1, 6), 21);
  EXPECT_DOUBLE_EQ(field.verify_us(2, 3, kContext), 3 + 80 + 20 + 3);
  EXPECT_DOUBLE_EQ(field.step_us(), 0);
}

}  // namespace
}  // namespace leadline::policy
