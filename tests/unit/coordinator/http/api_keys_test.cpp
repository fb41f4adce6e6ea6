#include "coordinator/http/api_keys.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>

namespace leadline::coordinator {
namespace {

constexpr char kFile[] =
    "# comment\n\nalice:alice-key-1\n  alice : alice-key-2 \r\nbare-key-333\nbob:has:colon:inside\n";

std::unique_ptr<ApiKeys> keys() {
  return std::move(*ApiKeys::parse(kFile, "cluster secret"));
}

TEST(ApiKeysTest, Authenticates) {
  const auto k = keys();
  ASSERT_EQ(k->size(), 4u);
  EXPECT_EQ(k->authenticate("Bearer alice-key-1")->name, "alice");
  EXPECT_EQ(k->authenticate("bearer  alice-key-2 ")->name, "alice");
  EXPECT_EQ(k->authenticate("BEARER bare-key-333")->name.substr(0, 4), "key-");
  EXPECT_EQ(k->authenticate("Bearer has:colon:inside")->name, "bob");
  for (const char* wrong :
       {"", "Bearer", "Bearer ", "alice-key-1", "Basic alice-key-1", "Bearer alice-key-",
        "Bearer alice-key-11", "Bearer alice:alice-key-1", "Bearer # comment", "Bearer ALICE-KEY-1"}) {
    EXPECT_FALSE(k->authenticate(wrong)) << wrong;
  }
}

TEST(ApiKeysTest, SaltIsTheTenantsAndTheClusters) {
  const auto k = keys();
  const Digest alice = k->authenticate("Bearer alice-key-1")->salt;
  EXPECT_EQ(alice, k->authenticate("Bearer alice-key-2")->salt);  // rotating a key loses nothing
  EXPECT_NE(alice, k->authenticate("Bearer bare-key-333")->salt);
  EXPECT_NE(alice, Digest{});
  EXPECT_NE(alice, ApiKeys::parse(kFile, "another secret").value()->authenticate("Bearer alice-key-1")->salt);
}

TEST(ApiKeysTest, RefusesByLineNumberAndNeverByContent) {
  for (const char* bad : {"", "# only\n", "alice:short\n", "alice:two words here\n", ":no-name-given\n"}) {
    const auto result = ApiKeys::parse(bad, "");
    ASSERT_FALSE(result) << bad;
    EXPECT_EQ(result.error().code, Errc::configuration);
    EXPECT_EQ(result.error().message.find("no-name"), std::string::npos);
  }
}

TEST(ApiKeysTest, ReloadsAndKeepsTheOldKeysWhenTheNewFileIsBroken) {
  const std::string path = ::testing::TempDir() + "keys";
  std::ofstream(path) << "alice:alice-key-1\n";
  auto loaded = ApiKeys::load(path, "");
  ASSERT_TRUE(loaded);
  auto& k = **loaded;
  EXPECT_EQ(k.reload_if_changed(false).value(), false);
  std::ofstream(path) << "bob:bobs-key-22222\n";
  EXPECT_EQ(k.reload_if_changed(false).value(), true);
  EXPECT_TRUE(k.authenticate("Bearer bobs-key-22222"));
  EXPECT_FALSE(k.authenticate("Bearer alice-key-1"));
  std::ofstream(path) << "bob:x\n";
  EXPECT_FALSE(k.reload_if_changed(false));
  EXPECT_TRUE(k.authenticate("Bearer bobs-key-22222"));
  std::remove(path.c_str());
  EXPECT_FALSE(k.reload_if_changed(true));
  EXPECT_FALSE(ApiKeys::load(path, ""));
}

}  // namespace
}  // namespace leadline::coordinator
