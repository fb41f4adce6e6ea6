#include "policy/policy_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <random>
#include <string>

namespace leadline::policy {
namespace {

PolicyFile sample_file() {
  std::mt19937 random(3);
  PolicyFile file;
  file.model_identity = "0123456789abcdef";
  file.provenance = "a test";
  LearnedModel& m = file.model;
  m.layers = 12;
  m.exits = {1, 4, 8};
  m.mean.assign(kBenefitInputs, 0.5F);
  m.scale.assign(kBenefitInputs, 2.0F);
  m.net.sizes = {static_cast<std::uint32_t>(kBenefitInputs), 8, static_cast<std::uint32_t>(kClimb + 3)};
  m.net.weights.resize(Mlp::weights_for(m.net.sizes));
  for (float& w : m.net.weights) w = std::normal_distribution<float>(0, 1)(random);
  return file;
}

Errc code_of(std::span<const std::byte> bytes) {
  const auto read = policy_from_bytes(bytes);
  return read ? Errc::ok : read.error().code;
}

// As save_policy would write it had `change` been made before: the checksum is right, the content is not.
template <typename Change>
Errc code_of_changed(Change change) {
  PolicyFile file = sample_file();
  change(file);
  return code_of(policy_to_bytes(file));
}

TEST(PolicyFile, RoundTrips) {
  const PolicyFile file = sample_file();
  const auto read = policy_from_bytes(policy_to_bytes(file));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->model_identity, file.model_identity);
  EXPECT_EQ(read->provenance, file.provenance);
  EXPECT_EQ(read->model.exits, file.model.exits);
  EXPECT_EQ(read->model.net.weights, file.model.net.weights);
  EXPECT_EQ(policy_to_bytes(*read), policy_to_bytes(file));
}

TEST(PolicyFile, EveryFlippedBitAndEveryTruncationIsRefused) {
  const std::vector<std::byte> whole = policy_to_bytes(sample_file());
  for (std::size_t i = 0; i < whole.size(); i += i < 128 ? 1 : 17) {
    std::vector<std::byte> bytes = whole;
    bytes[i] ^= std::byte{4};
    EXPECT_NE(code_of(bytes), Errc::ok) << "byte " << i;
    EXPECT_NE(code_of(std::span(whole).first(i)), Errc::ok) << "cut at " << i;
  }
  std::vector<std::byte> longer = whole;
  longer.push_back(std::byte{0});
  EXPECT_EQ(code_of(longer), Errc::malformed_file);
}

TEST(PolicyFile, ContentThatDoesNotFitTogetherIsRefusedThoughTheChecksumIsRight) {
  EXPECT_EQ(code_of_changed([](PolicyFile&) {}), Errc::ok);
  EXPECT_EQ(code_of_changed([](PolicyFile& f) { f.model.exits = {4, 4, 8}; }), Errc::malformed_file);
  EXPECT_EQ(code_of_changed([](PolicyFile& f) { f.model.exits = {1, 4, 12}; }), Errc::malformed_file);
  EXPECT_EQ(code_of_changed([](PolicyFile& f) { f.model.exits.clear(); }), Errc::malformed_file);
  EXPECT_EQ(code_of_changed([](PolicyFile& f) { f.model.max_draft = 99; }), Errc::malformed_file);
  EXPECT_EQ(code_of_changed([](PolicyFile& f) { f.model.mean.pop_back(); }), Errc::malformed_file);
  EXPECT_EQ(code_of_changed([](PolicyFile& f) { f.model.net.weights[5] = NAN; }), Errc::malformed_file);
  EXPECT_EQ(code_of_changed([](PolicyFile& f) { f.model.net.weights.pop_back(); }), Errc::malformed_file);
  EXPECT_EQ(code_of_changed([](PolicyFile& f) { f.model.net.sizes[1] = 1 << 30; }), Errc::malformed_file);
  EXPECT_EQ(code_of_changed([](PolicyFile& f) { f.model.net.sizes.clear(); }), Errc::malformed_file);
  EXPECT_EQ(code_of_changed([](PolicyFile& f) { f.model.kind = static_cast<LearnedKind>(7); }),
            Errc::malformed_file);
}

TEST(PolicyFile, AnotherModelIsRefusedWithBothNames) {
  const PolicyFile file = sample_file();
  EXPECT_TRUE(check_model(file, {"0123456789abcdef", 12}));
  const auto other = check_model(file, {"ffff", 12});
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, Errc::model_mismatch);
  EXPECT_NE(other.error().message.find("ffff"), std::string::npos);
  EXPECT_NE(other.error().message.find("0123456789abcdef"), std::string::npos);
  EXPECT_FALSE(check_model(file, {"0123456789abcdef", 24}));
}

TEST(PolicyFile, SavesAndLoads) {
  const std::string path = testing::TempDir() + "policy_file_test." + std::to_string(::getpid());
  ASSERT_TRUE(save_policy(sample_file(), path));
  EXPECT_TRUE(load_policy(path));
  std::remove(path.c_str());
  const auto missing = load_policy(path);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Errc::io);
  PolicyFile broken = sample_file();
  broken.model.exits.clear();
  EXPECT_FALSE(save_policy(broken, path)) << "what could not be loaded is not written";
}

}  // namespace
}  // namespace leadline::policy
