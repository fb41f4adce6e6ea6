// What only the disk tier promises: damage is put aside, restarts find blocks, processes share a directory
// and its limit, a full or read-only filesystem is a state. (The laws of every tier:
// tests/conformance/kvstore.)
#include "kvstore/disk_tier.h"

#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

#include "tests/support/sample_block.h"
#include "tests/support/scratch_directory.h"

namespace leadline::kvstore {
namespace {

namespace fs = std::filesystem;
using tests::sample_block;
using tests::ScratchDirectory;

TierDeadline soon() {
  return std::chrono::steady_clock::now() + std::chrono::seconds(5);
}

struct Opened {
  std::vector<std::string> log;
  std::unique_ptr<DiskTier> tier;
};

std::unique_ptr<Opened> open_tier(const std::string& directory, std::uint64_t capacity = 16 << 20,
                                  bool scan = true) {
  auto opened = std::make_unique<Opened>();
  DiskTierOptions options;
  options.directory = directory;
  options.capacity_bytes = capacity;
  options.retry = std::chrono::milliseconds(20);
  options.log = [log = &opened->log](std::string_view what, std::string_view why) {
    log->push_back(std::string(what) + ": " + std::string(why));
  };
  auto tier = DiskTier::open(std::move(options));
  EXPECT_TRUE(tier) << tier.error().message;
  opened->tier = std::move(*tier);
  if (scan) opened->tier->scan(std::atomic<bool>{false});
  return opened;
}

TierRead get(Tier& tier, const BlockId& id) {
  TierRead read;
  tier.get({&id, 1}, {&read, 1}, soon());
  return read;
}

std::string file_of(const ScratchDirectory& d, const BlockPtr& b) {
  return d.path() + "/v1/blocks/" + block_file_name(b->header().id);
}

std::size_t quarantined(const ScratchDirectory& d) {
  const fs::directory_iterator all(d.path() + "/v1/quarantine");
  return static_cast<std::size_t>(std::distance(fs::begin(all), fs::end(all)));
}

std::uint64_t disk_bytes(const std::string& directory) {  // as du counts files
  std::uint64_t bytes = 0;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    struct stat info {};
    if (entry.is_regular_file() && ::stat(entry.path().c_str(), &info) == 0)
      bytes += static_cast<std::uint64_t>(info.st_blocks) * 512;
  }
  return bytes;
}

void overwrite(const std::string& path, std::span<const std::byte> bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

TEST(DiskTier, FileNamesRoundTripAndNothingElseIsOne) {
  const BlockId id = sample_block(1, 2, 300)->header().id;
  const std::string name = block_file_name(id).substr(3);
  EXPECT_EQ(block_of_file_name(name), id);
  for (const std::string& wrong :
       {std::string(), std::string("x"), name + "x", "0" + name, name.substr(0, 64) + "-.kvb",
        name.substr(0, 64) + "-03.kvb", name.substr(0, 64) + "-65536.kvb", "G" + name.substr(1)})
    EXPECT_FALSE(block_of_file_name(wrong)) << wrong;
}

TEST(DiskTier, T7_ARestartFindsItsBlocksAndTheirBytes) {
  const ScratchDirectory d;
  std::uint64_t bytes = 0;
  {
    auto t = open_tier(d.path());
    for (int i = 0; i < 20; ++i) ASSERT_EQ(t->tier->put(sample_block(1, i), soon()), PutOutcome::stored);
    bytes = t->tier->usage().bytes;
    EXPECT_GE(bytes, disk_bytes(d.path() + "/v1/blocks"));
  }
  auto t = open_tier(d.path());
  EXPECT_EQ(t->tier->usage().bytes, bytes);
  EXPECT_EQ(t->tier->usage().blocks, 20U);
  for (int i = 0; i < 20; ++i)
    EXPECT_EQ(get(*t->tier, sample_block(1, i)->header().id).outcome, GetOutcome::hit);
}

// Trap T6: the file of a writer that was interrupted after n bytes, whatever lies behind them.
TEST(DiskTier, T6_ATornFileIsAMissAtEveryOffset) {
  const ScratchDirectory d;
  auto t = open_tier(d.path(), 64 << 20);
  const BlockPtr block = sample_block(1, 0, 0, 300);
  const std::vector<std::byte> whole(block->bytes().begin(), block->bytes().end());
  int corrupt = 0;
  for (std::size_t n = 0; n < whole.size(); ++n) {
    for (const bool zeros_behind : {false, true}) {
      ASSERT_EQ(t->tier->put(block, soon()), PutOutcome::stored);
      std::vector<std::byte> torn(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(n));
      if (zeros_behind) torn.resize(whole.size());
      if (torn == whole) continue;
      overwrite(file_of(d, block), torn);
      const TierRead read = get(*t->tier, block->header().id);
      ASSERT_EQ(read.outcome, GetOutcome::corrupt) << n;
      ASSERT_EQ(get(*t->tier, block->header().id).outcome, GetOutcome::miss) << "T2: it is gone at once";
      ++corrupt;
    }
    if (n % 100 == 99)
      fs::remove_all(d.path() + "/v1/quarantine"), fs::create_directory(d.path() + "/v1/quarantine");
  }
  EXPECT_GT(corrupt, 1000);
}

TEST(DiskTier, TenThousandBitFlipsAreTenThousandCountedMisses) {
  const ScratchDirectory d;
  auto t = open_tier(d.path(), std::uint64_t{4} << 30);
  const BlockPtr block = sample_block(1, 0, 0, 3000);
  const std::vector<std::byte> whole(block->bytes().begin(), block->bytes().end());
  std::mt19937 rng(11);
  int corrupt = 0;
  for (int i = 0; i < 10'000; ++i) {
    std::vector<std::byte> flipped = whole;
    const std::size_t bit = rng() % (whole.size() * 8);
    flipped[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
    if (i == 0) {
      ASSERT_EQ(t->tier->put(block, soon()), PutOutcome::stored);
    }
    overwrite(file_of(d, block), flipped);
    const TierRead read = get(*t->tier, block->header().id);
    ASSERT_EQ(read.block, nullptr);
    corrupt += read.outcome == GetOutcome::corrupt;
    if (i % 500 == 0)
      fs::remove_all(d.path() + "/v1/quarantine"), fs::create_directory(d.path() + "/v1/quarantine");
  }
  EXPECT_EQ(corrupt, 10'000);
  EXPECT_EQ(t->log.size(), 10'000U);
}

TEST(DiskTier, TheScanPutsDamageAsideAndDeletesNothing) {
  const ScratchDirectory d;
  const BlockPtr good = sample_block(1, 0), cut = sample_block(1, 1), foreign = sample_block(1, 2);
  {
    auto t = open_tier(d.path());
    for (const BlockPtr& b : {good, cut, foreign}) ASSERT_EQ(t->tier->put(b, soon()), PutOutcome::stored);
  }
  fs::resize_file(file_of(d, cut), 500);
  overwrite(file_of(d, foreign), good->bytes());  // another block under this name
  std::ofstream(d.path() + "/v1/tmp/4711.0") << "half a block";
  std::ofstream(d.path() + "/v1/blocks/README") << "not ours";
  auto t = open_tier(d.path());
  EXPECT_EQ(t->tier->usage().blocks, 1U);
  EXPECT_EQ(quarantined(d), 2U);
  EXPECT_TRUE(fs::is_empty(d.path() + "/v1/tmp")) << "stale temporary files of an earlier process";
  EXPECT_TRUE(fs::exists(d.path() + "/v1/blocks/README"));
  EXPECT_EQ(get(*t->tier, good->header().id).outcome, GetOutcome::hit);
  EXPECT_EQ(get(*t->tier, cut->header().id).outcome, GetOutcome::miss);
  EXPECT_EQ(t->log.size(), 2U);
  EXPECT_GE(t->tier->usage().bytes, 3 * file_cost(good->bytes().size()) - 4096)
      << "evidence costs bytes, too";
}

TEST(DiskTier, AFullQuarantineEndsStoresNotReads) {
  const ScratchDirectory d;
  auto t = open_tier(d.path(), 256 << 10);  // quarantine: 32 KiB
  const BlockPtr good = sample_block(5, 0, 0, 3000);
  ASSERT_EQ(t->tier->put(good, soon()), PutOutcome::stored);
  for (int i = 0; i < 12 && t->tier->state() == TierState::ok; ++i) {
    const BlockPtr b = sample_block(1, i, 0, 3000);
    ASSERT_EQ(t->tier->put(b, soon()), PutOutcome::stored);
    fs::resize_file(file_of(d, b), 100);
    EXPECT_EQ(get(*t->tier, b->header().id).outcome, GetOutcome::corrupt);
  }
  EXPECT_EQ(t->tier->state(), TierState::read_only);
  EXPECT_NE(t->tier->why().find("quarantine"), std::string::npos);
  EXPECT_EQ(t->tier->put(sample_block(2, 0), soon()), PutOutcome::unavailable);
  EXPECT_EQ(get(*t->tier, good->header().id).outcome, GetOutcome::hit);
}

TEST(DiskTier, T7_TwoTiersShareADirectoryAndItsLimit) {
  const ScratchDirectory d;
  constexpr std::uint64_t kCapacity = 512 << 10;
  auto a = open_tier(d.path(), kCapacity), b = open_tier(d.path(), kCapacity);
  ASSERT_EQ(a->tier->put(sample_block(1, 0), soon()), PutOutcome::stored);
  EXPECT_EQ(b->tier->put(sample_block(1, 0), soon()), PutOutcome::present);
  EXPECT_EQ(get(*b->tier, sample_block(1, 0)->header().id).outcome, GetOutcome::hit);
  for (int i = 0; i < 300; ++i) {
    (void)(i % 2 == 0 ? a : b)->tier->put(sample_block(2 + i, 0, 0, 4000), soon());
    ASSERT_LE(a->tier->usage().bytes, kCapacity);
    ASSERT_EQ(a->tier->usage().bytes, b->tier->usage().bytes);
  }
  EXPECT_LE(disk_bytes(d.path() + "/v1/blocks"), kCapacity);
  EXPECT_GT(disk_bytes(d.path() + "/v1/blocks"), kCapacity / 2);
}

// Two processes writing the same keys at once: one file each, whole, and counted once.
TEST(DiskTier, TwoProcessesWriteOneKey) {
  const ScratchDirectory d;
  std::vector<pid_t> children;
  for (int p = 0; p < 2; ++p) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      auto t = open_tier(d.path());
      for (int i = 0; i < 200; ++i) (void)t->tier->put(sample_block(i, 0, 0, 2000), soon());
      ::_exit(0);
    }
    children.push_back(pid);
  }
  for (const pid_t pid : children) {
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  auto t = open_tier(d.path(), 16 << 20, false);
  t->tier->scan(std::atomic<bool>{false});
  EXPECT_EQ(t->tier->usage().blocks, 200U);
  EXPECT_EQ(t->tier->usage().bytes, 200 * file_cost(sample_block(0, 0, 0, 2000)->bytes().size()));
  for (int i = 0; i < 200; ++i)
    EXPECT_EQ(get(*t->tier, sample_block(i, 0)->header().id).outcome, GetOutcome::hit);
}

// Killed anywhere while writing: what is found afterwards is whole, the limit holds, nothing stays behind.
TEST(DiskTier, AWriterIsKilled) {
  const ScratchDirectory d;
  constexpr std::uint64_t kCapacity = 1 << 20;
  for (int round = 0; round < 20; ++round) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      auto t = open_tier(d.path(), kCapacity);
      for (int i = 0;; ++i) (void)t->tier->put(sample_block(round * 1000 + i % 900, 0, 0, 20'000), soon());
    }
    ::usleep(static_cast<useconds_t>(3'000 + 1'700 * round));  // where it hits is the point of the test
    ::kill(pid, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  }
  auto t = open_tier(d.path(), kCapacity);
  EXPECT_EQ(t->log.size(), 0U) << t->log.front();
  EXPECT_LE(t->tier->usage().bytes, kCapacity);
  EXPECT_GE(t->tier->usage().bytes, disk_bytes(d.path() + "/v1/blocks"));
  EXPECT_TRUE(fs::is_empty(d.path() + "/v1/tmp"));
  EXPECT_EQ(t->tier->put(sample_block(1, 0), soon()), PutOutcome::stored);
}

TEST(DiskTier, AFullFilesystemIsAStateThatEnds) {
  const ScratchDirectory d;
  if (::mount("tmpfs", d.path().c_str(), "tmpfs", 0, "size=1m") != 0)
    GTEST_SKIP() << "mounting a small tmpfs needs privileges: " << std::strerror(errno);
  {
    auto t = open_tier(d.path(), 64 << 20);
    PutOutcome outcome = PutOutcome::stored;
    int stored = 0;
    for (; outcome == PutOutcome::stored && stored < 100; ++stored)
      outcome = t->tier->put(sample_block(stored, 0, 0, 50'000), soon());
    EXPECT_EQ(outcome, PutOutcome::full);
    EXPECT_EQ(t->tier->state(), TierState::read_only);
    EXPECT_NE(t->tier->why().find("No space"), std::string::npos) << t->tier->why();
    EXPECT_EQ(t->tier->put(sample_block(500, 0), soon()), PutOutcome::unavailable);
    EXPECT_EQ(get(*t->tier, sample_block(0, 0)->header().id).outcome, GetOutcome::hit);
    for (int i = 0; i < 10; ++i) (void)t->tier->erase(sample_block(i, 0)->header().id, soon());
    const auto until = soon();
    while (t->tier->put(sample_block(501, 0), soon()) != PutOutcome::stored)
      ASSERT_LT(std::chrono::steady_clock::now(), until) << "it never came back";
    EXPECT_EQ(t->tier->state(), TierState::ok);
  }
  ::umount(d.path().c_str());
}

TEST(DiskTier, T8_AReadOnlyFilesystemIsAState) {
  const ScratchDirectory d;
  if (::mount("tmpfs", d.path().c_str(), "tmpfs", 0, "size=4m") != 0)
    GTEST_SKIP() << "mounting a small tmpfs needs privileges: " << std::strerror(errno);
  {
    auto t = open_tier(d.path());
    ASSERT_EQ(t->tier->put(sample_block(1, 0), soon()), PutOutcome::stored);
  }
  ASSERT_EQ(::mount(nullptr, d.path().c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr), 0);
  {
    auto t = open_tier(d.path());
    EXPECT_EQ(get(*t->tier, sample_block(1, 0)->header().id).outcome, GetOutcome::hit);
    EXPECT_EQ(t->tier->put(sample_block(1, 1), soon()), PutOutcome::unavailable);
    EXPECT_EQ(t->tier->state(), TierState::read_only);
    EXPECT_NE(t->tier->why().find("Read-only"), std::string::npos) << t->tier->why();
  }
  ::umount(d.path().c_str());
}

}  // namespace
}  // namespace leadline::kvstore
