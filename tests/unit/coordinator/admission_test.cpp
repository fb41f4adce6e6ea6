#include "coordinator/admission.h"

#include <gtest/gtest.h>

namespace leadline::coordinator {
namespace {

struct Case {
  const char* name;
  AdmissionLoad load;
  AdmissionAsk ask;
  AdmissionVerdict verdict;
};

AdmissionLoad load_of(std::size_t waiting, std::size_t running, std::size_t slots,
                      std::size_t waiting_tokens = 0) {
  AdmissionLoad load;
  load.waiting_sequences = waiting;
  load.running_sequences = running;
  load.slots = slots;
  load.waiting_tokens = waiting_tokens;
  return load;
}

TEST(AdmissionTest, Table) {
  Limits limits;
  limits.waiting_requests = 10;
  limits.waiting_tokens = 1000;
  AdmissionLoad draining, lonely, preparing = load_of(5, 0, 0);
  draining.draining = true;
  lonely.any_worker_expected = false;
  preparing.preparing = 5;
  const Case cases[] = {
      {"empty", {}, {1, 100}, AdmissionVerdict::admit},
      {"last place", load_of(9, 4, 4), {1, 10}, AdmissionVerdict::admit},
      {"full", load_of(10, 4, 4), {1, 10}, AdmissionVerdict::overloaded},
      {"free slots count as places", load_of(10, 2, 4), {2, 10}, AdmissionVerdict::admit},
      {"more than free slots", load_of(10, 2, 4), {3, 10}, AdmissionVerdict::overloaded},
      {"running beyond slots is no underflow", load_of(9, 9, 4), {1, 10}, AdmissionVerdict::admit},
      {"n counts", load_of(0, 4, 4), {11, 10}, AdmissionVerdict::overloaded},
      {"preparing counts", preparing, {1, 0}, AdmissionVerdict::overloaded},
      {"tokens full", load_of(1, 4, 4, 990), {1, 11}, AdmissionVerdict::overloaded},
      {"tokens fit", load_of(1, 4, 4, 990), {1, 10}, AdmissionVerdict::admit},
      {"one giant when nothing waits", load_of(0, 4, 4, 0), {1, 5000}, AdmissionVerdict::admit},
      {"draining", draining, {1, 1}, AdmissionVerdict::draining},
      {"no worker", lonely, {1, 1}, AdmissionVerdict::no_worker},
  };
  for (const Case& c : cases) EXPECT_EQ(decide_admission(c.load, c.ask, limits).verdict, c.verdict) << c.name;
}

TEST(AdmissionTest, RetryAfterFollowsTheRateAndStaysInRange) {
  Limits limits;
  AdmissionLoad load = load_of(600, 4, 4);
  EXPECT_EQ(decide_admission(load, {}, limits).retry_after_s, 5u);  // nothing known yet
  load.finished_per_s = 30;
  EXPECT_EQ(decide_admission(load, {}, limits).retry_after_s, 10u);
  load.finished_per_s = 0.001;
  EXPECT_EQ(decide_admission(load, {}, limits).retry_after_s, 60u);
  load.finished_per_s = 1e9;
  EXPECT_EQ(decide_admission(load, {}, limits).retry_after_s, 1u);
}

}  // namespace
}  // namespace leadline::coordinator
