// Golden vectors (made with Python's hashlib from the canonical bytes in the header) and what the chain must
// tell apart.
#include "kvstore/block_key.h"

#include <gtest/gtest.h>

#include <numeric>
#include <set>

namespace leadline::kvstore {
namespace {

std::vector<std::int32_t> counting(std::size_t n) {
  std::vector<std::int32_t> v(n);
  std::iota(v.begin(), v.end(), 0);
  return v;
}

TEST(BlockKey, T10_GoldenVectors) {
  const BlockKey r0 = root_key({});
  EXPECT_EQ(to_hex(r0), "34fddc882cfc7203d44a435c54509abc0b78d70e28b2afe3d5c85569170325bf");
  ChainIdentity identity{
      .model_fingerprint = "reference/f32", .compression = "semanticache:0.9", .lossy_codec = "int8"};
  std::iota(identity.salt.begin(), identity.salt.end(), std::uint8_t{0});
  EXPECT_EQ(to_hex(root_key(identity)), "174a48d72acef35d7ddad80d8bc45c898d0777343e2b19f1b7fa71e454ee4ad4");
  const BlockKey b0 = next_key(r0, counting(16));
  EXPECT_EQ(to_hex(b0), "f4e8f6906e9707454e2bbfe2f176b96aed34c1342eb8ba5d63d57f8c96d2763d");
  std::vector<std::int32_t> odd(16, 7);
  odd[0] = -1;
  odd[1] = 2147483647;
  EXPECT_EQ(to_hex(next_key(b0, odd)), "a63510cb51d213354172006b88b7331f3f9cc63688862762948af2cabb2ff83a");
}

TEST(BlockKey, T9_EveryPartOfTheIdentityCounts) {
  std::set<BlockKey> keys;
  TenantSalt salt{};
  salt[31] = 1;
  keys.insert(root_key({}));
  keys.insert(root_key({.model_fingerprint = "a"}));
  keys.insert(root_key({.salt = salt}));
  keys.insert(root_key({.compression = "a"}));
  keys.insert(root_key({.lossy_codec = "a"}));
  keys.insert(root_key({.compression = "ab", .lossy_codec = "c"}));
  keys.insert(root_key({.compression = "a", .lossy_codec = "bc"}));  // no gluing of neighbouring fields
  EXPECT_EQ(keys.size(), 7U);
}

TEST(BlockKey, ABlockBindsAllTokensBeforeIt) {
  std::vector<std::int32_t> tokens = counting(50);
  const BlockKey root = root_key({.model_fingerprint = "m"});
  const std::vector<BlockKey> keys = block_keys(root, tokens, 16);
  ASSERT_EQ(keys.size(), 3U);
  EXPECT_EQ(keys[1], next_key(keys[0], std::span(tokens).subspan(16, 16)));
  for (const std::size_t changed : {0U, 15U, 16U, 47U, 48U}) {
    std::vector<std::int32_t> other = tokens;
    other[changed] += 1;
    const std::vector<BlockKey> others = block_keys(root, other, 16);
    for (std::size_t i = 0; i < 3; ++i)
      EXPECT_EQ(others[i] == keys[i], changed / 16 > i) << changed << " " << i;
  }
}

TEST(BlockKey, CountsAreNotGlued) {
  // The same token bytes cut into blocks differently give different keys.
  const BlockKey root = root_key({});
  const std::vector<std::int32_t> tokens = counting(32);
  EXPECT_NE(block_keys(root, tokens, 16).back(), block_keys(root, tokens, 32).back());
  EXPECT_NE(next_key(root, {}), root);
}

}  // namespace
}  // namespace leadline::kvstore
