#include "transport/control/control_secret.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>

namespace leadline::transport {
namespace {

class ControlSecretTest : public ::testing::Test {
 protected:
  void TearDown() override { std::remove(path_.c_str()); }
  void write(const std::string& text) const { std::ofstream(path_, std::ios::binary) << text; }

  const std::string path_ = ::testing::TempDir() + "control_secret_test_file";
};

TEST_F(ControlSecretTest, IsTheOnlyLineWithoutItsEnd) {
  EXPECT_EQ(read_control_secret("").value(), "");
  for (const char* end : {"", "\n", "\r\n", "\n\n"}) {
    write(std::string("0123456789abcdef") + end);
    EXPECT_EQ(read_control_secret(path_).value(), "0123456789abcdef");
  }
  write(std::string(kMaxSecretBytes, 'x') + "\r\n");
  EXPECT_EQ(read_control_secret(path_).value(), std::string(kMaxSecretBytes, 'x'));
}

TEST_F(ControlSecretTest, RefusesWhatTwoReadersCouldTakeDifferently) {
  for (const std::string& text :
       {std::string(), std::string("short\n"), std::string("0123456789abcdef\nsecond line\n"),
        std::string("0123456789abcdef\rmore"), std::string(kMaxSecretBytes + 1, 'x'),
        std::string(1 << 20, 'x')}) {
    write(text);
    const auto secret = read_control_secret(path_);
    ASSERT_FALSE(secret) << text.size();
    EXPECT_EQ(secret.error().code, Errc::configuration);
    EXPECT_NE(secret.error().message.find(path_), std::string::npos);
  }
}

TEST_F(ControlSecretTest, NamesAFileThatCannotBeRead) {
  const auto secret = read_control_secret("/nonexistent/secret");
  ASSERT_FALSE(secret);
  EXPECT_NE(secret.error().message.find("/nonexistent/secret"), std::string::npos);
}

}  // namespace
}  // namespace leadline::transport
