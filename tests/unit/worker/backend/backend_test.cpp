#include "worker/backend/backend.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace leadline::worker {
namespace {

// Sets LEADLINE_CPU_ISA for one test.
class IsaInEnvironment {
 public:
  explicit IsaInEnvironment(const char* isa) { setenv("LEADLINE_CPU_ISA", isa, 1); }
  ~IsaInEnvironment() { unsetenv("LEADLINE_CPU_ISA"); }
};

TEST(MakeBackend, AutoIsTheCpuWhereCudaIsNotBuilt) {
  std::string line;
  BackendOptions options;
  options.threads = 1;
  options.log = [&](std::string_view message) { line = message; };
  const auto backend = make_backend(options);
  ASSERT_TRUE(backend.has_value());
  EXPECT_TRUE((*backend)->name().starts_with("cpu/"));
  EXPECT_NE(line.find(std::string((*backend)->name().substr(4))), std::string::npos) << line;
  EXPECT_NE(line.find("1 threads"), std::string::npos) << line;
}

TEST(MakeBackend, CudaAskedForButNotBuiltIsAConfigurationError) {
  BackendOptions options;
  options.device = "cuda";
  const auto backend = make_backend(options);
  ASSERT_FALSE(backend.has_value());
  EXPECT_EQ(backend.error().code, Errc::configuration);
  EXPECT_NE(backend.error().message.find("cuda"), std::string::npos);
}

TEST(MakeBackend, UnknownNamesAreRefusedByName) {
  BackendOptions options;
  options.device = "tpu";
  EXPECT_NE(make_backend(options).error().message.find("tpu"), std::string::npos);
  options.device = "cpu";
  options.isa = "sse9";
  EXPECT_NE(make_backend(options).error().message.find("sse9"), std::string::npos);
  options.isa = "scalar";
  options.threads = 100000;
  EXPECT_NE(make_backend(options).error().message.find("100000"), std::string::npos);
  options.threads = 1;
  options.rank_on_host = 2;
  options.ranks_on_host = 2;
  EXPECT_EQ(make_backend(options).error().code, Errc::configuration);
}

TEST(MakeBackend, TheEnvironmentOverridesTheHostButNotTheFlag) {
  const IsaInEnvironment environment("scalar");
  BackendOptions options;
  options.threads = 1;
  EXPECT_EQ((*make_backend(options))->name(), "cpu/scalar");
  options.isa = "no-such-isa";
  EXPECT_FALSE(make_backend(options).has_value());
}

TEST(MakeBackend, RanksOnOneMachineShareItsCores) {
  std::string line;
  BackendOptions options;
  options.rank_on_host = 3;
  options.ranks_on_host = 64;  // more than the cores of a test machine: one thread each, not pinned
  options.log = [&](std::string_view message) { line = message; };
  ASSERT_TRUE(make_backend(options).has_value());
  EXPECT_NE(line.find(" 1 threads"), std::string::npos) << line;
}

}  // namespace
}  // namespace leadline::worker
