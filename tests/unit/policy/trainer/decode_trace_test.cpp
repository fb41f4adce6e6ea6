#include "policy/trainer/decode_trace.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>

#include "policy/byte_file.h"
#include "tests/unit/policy/trainer/trace_samples.h"

namespace leadline::policy {
namespace {

TEST(DecodeTrace, RoundTripsAndRefusesDamage) {
  const std::string path = testing::TempDir() + "decode_trace_test." + std::to_string(::getpid());
  const DecodeTrace trace = trace_of({"110101", "0011"});
  ASSERT_TRUE(save_trace(trace, path));
  const auto read = load_trace(path);
  ASSERT_TRUE(read) << read.error().message;
  ASSERT_EQ(read->answers.size(), 2U);
  EXPECT_EQ(read->answers[0].exits[0].matches, trace.answers[0].exits[0].matches);
  EXPECT_EQ(read->answers[1].exits[0].branches.size(), trace.answers[1].exits[0].branches.size());
  const auto whole = read_file(path, 1 << 20);
  ASSERT_TRUE(whole);
  for (std::size_t cut = 0; cut < whole->size(); cut += 13) {
    ASSERT_TRUE(write_file(path, std::span(*whole).first(cut)));
    EXPECT_FALSE(load_trace(path)) << "cut at " << cut;
  }
  DecodeTrace broken = trace;
  broken.answers[0].exits[0].branch[3] = 99;  // a branch that is not there
  ASSERT_TRUE(save_trace(broken, path));
  EXPECT_FALSE(load_trace(path));
  ASSERT_TRUE(save_trace(trace_of({"1", ""}), path));
  EXPECT_FALSE(load_trace(path)) << "an answer without a token of a round";
  std::remove(path.c_str());
}

}  // namespace
}  // namespace leadline::policy
