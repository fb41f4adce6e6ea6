// NcclCommunicator over a fake NCCL: ranks are threads, "device" memory is the host's, work in a stream is
// done at once unless a test holds it. NCCL itself refuses two ranks on one GPU, so this is where its logic
// is shown.

#include "transport/collective/nccl_communicator.h"

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

#include "tests/support/thread_communicator.h"

namespace leadline::transport {
namespace {

using std::chrono::milliseconds;
StreamHandle const kStream = reinterpret_cast<StreamHandle>(0x10);

// What all ranks of a fake NCCL share: where a rank's part of a collective lies until every rank has come.
struct FakeWorld {
  explicit FakeWorld(int n) : size(n), parts(static_cast<std::size_t>(n)) {}
  const int size;
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::vector<std::byte>> parts;
  int arrived = 0, round = 0;
  std::atomic<int> aborts{0}, leaves{0}, joins{0};
  std::atomic<bool> stuck{false};  // streams never come to their end
  NcclId id{};

  // Puts this rank's part, waits for all, then reads.
  void meet(int rank, std::span<const std::byte> part, const std::function<void()>& read) {
    std::unique_lock lock(mutex);
    parts[static_cast<std::size_t>(rank)].assign(part.begin(), part.end());
    const int mine = round;
    if (++arrived == size) arrived = 0, ++round, changed.notify_all();
    changed.wait(lock, [&] { return round != mine; });
    read();
    const int second = round;
    if (++arrived == size) arrived = 0, ++round, changed.notify_all();
    changed.wait(lock, [&] { return round != second; });
  }
};

class FakeNccl final : public NcclApi {
 public:
  FakeNccl(FakeWorld& world, std::string id_trouble = "")
      : world_(world), id_trouble_(std::move(id_trouble)) {}
  std::string make_id(NcclId& id) override {
    id.fill(std::byte{0x5a});
    return id_trouble_;
  }
  std::string join(NcclGroup& group, int size, const NcclId& id, int rank) override {
    EXPECT_EQ(size, world_.size);
    EXPECT_EQ(id[127], std::byte{0x5a});
    rank_ = rank;
    ++world_.joins;
    group = this;
    return "";
  }
  std::string split(NcclGroup, int color, int, NcclGroup& part) override {
    split_color = color;
    part = &split_color;
    return "";
  }
  void leave(NcclGroup) override { ++world_.leaves; }
  void abort(NcclGroup) override { ++world_.aborts; }
  std::string trouble(NcclGroup) override { return async_trouble; }
  std::string all_gather(NcclGroup, const void* send, void* recv, std::size_t bytes,
                         StreamHandle stream) override {
    EXPECT_EQ(stream, kStream);
    if (!refuse.empty()) return refuse;
    world_.meet(rank_, {static_cast<const std::byte*>(send), bytes}, [&] {
      for (std::size_t r = 0; r < world_.parts.size(); ++r)
        std::memcpy(static_cast<std::byte*>(recv) + r * bytes, world_.parts[r].data(), bytes);
    });
    return "";
  }
  std::string broadcast(NcclGroup, void* buffer, std::size_t bytes, int root, StreamHandle) override {
    world_.meet(rank_, {static_cast<const std::byte*>(buffer), bytes},
                [&] { std::memcpy(buffer, world_.parts[static_cast<std::size_t>(root)].data(), bytes); });
    return "";
  }
  std::string all_reduce(NcclGroup, float* values, std::size_t count, StreamHandle) override {
    const std::span<const std::byte> part = std::as_bytes(std::span(values, count));
    world_.meet(rank_, part, [&] {
      std::fill_n(values, count, 0.0F);
      for (const auto& other : world_.parts)
        for (std::size_t i = 0; i < count; ++i) values[i] += reinterpret_cast<const float*>(other.data())[i];
    });
    return "";
  }
  std::string begin_pairs() override { return ""; }
  std::string send(NcclGroup, const void* from, std::size_t bytes, int, StreamHandle) override {
    world_.meet(rank_, {static_cast<const std::byte*>(from), bytes}, [] {});
    return "";
  }
  std::string receive(NcclGroup, void* to, std::size_t bytes, int from, StreamHandle) override {
    wanted_.push_back({static_cast<std::byte*>(to), bytes, from});
    return "";
  }
  std::string end_pairs() override {
    world_.meet(rank_, {}, [&] {
      for (const auto& [to, bytes, from] : wanted_)
        std::memcpy(to, world_.parts[static_cast<std::size_t>(from)].data(), bytes);
    });
    wanted_.clear();
    return "";
  }
  std::string copy(void* to, const void* from, std::size_t bytes, StreamHandle) override {
    std::memmove(to, from, bytes);
    return "";
  }
  StreamState state_of(StreamHandle) override { return world_.stuck ? StreamState::busy : StreamState::idle; }

  std::string async_trouble, refuse;
  int split_color = -1;

 private:
  struct Wanted {
    std::byte* to;
    std::size_t bytes;
    int from;
  };
  FakeWorld& world_;
  const std::string id_trouble_;
  int rank_ = -1;
  std::vector<Wanted> wanted_;
};

using RankBody = std::function<void(NcclCommunicator&, FakeNccl&)>;
void on_ranks(FakeWorld& world, milliseconds stall_limit, const RankBody& body) {
  auto hosts = tests::make_thread_group(world.size, stall_limit);
  std::vector<std::thread> threads;
  for (auto& host : hosts)
    threads.emplace_back([&world, &body, stall_limit, host = std::move(host)]() mutable {
      auto api = std::make_unique<FakeNccl>(world);
      FakeNccl& fake = *api;
      auto made = NcclCommunicator::create(std::move(api), std::move(host), stall_limit);
      ASSERT_TRUE(made.has_value()) << made.error().message;
      body(static_cast<NcclCommunicator&>(**made), fake);
    });
  for (std::thread& thread : threads) thread.join();
}

std::span<const std::byte> bytes_of(const std::vector<int>& v) {
  return std::as_bytes(std::span(v));
}

TEST(NcclCommunicator, CollectivesOnAStreamGoToNcclAndOthersToTheHosts) {
  FakeWorld world(4);
  on_ranks(world, milliseconds(20'000), [](NcclCommunicator& ranks, FakeNccl&) {
    for (StreamHandle stream : {kStream, StreamHandle{}}) {
      const std::vector<int> mine = {ranks.rank() * 10, ranks.rank() * 10 + 1};
      std::vector<int> all(8, -1);
      ASSERT_TRUE(ranks.all_gather(bytes_of(mine), std::as_writable_bytes(std::span(all)), stream));
      EXPECT_EQ(all, (std::vector<int>{0, 1, 10, 11, 20, 21, 30, 31}));
      std::vector<int> gathered(ranks.rank() == 2 ? 8 : 0, -1);
      ASSERT_TRUE(ranks.gather(bytes_of(mine), std::as_writable_bytes(std::span(gathered)), 2, stream));
      if (ranks.rank() == 2) {
        EXPECT_EQ(gathered, all);
      }
      std::vector<int> word = {ranks.rank() == 3 ? 77 : 0};
      ASSERT_TRUE(ranks.broadcast(std::as_writable_bytes(std::span(word)), 3, stream));
      EXPECT_EQ(word[0], 77);
    }
    std::vector<float> sums = {1.0F, static_cast<float>(ranks.rank())};
    ASSERT_TRUE(ranks.all_reduce_sum(sums, kStream));
    EXPECT_EQ(sums, (std::vector<float>{4, 6}));
    EXPECT_TRUE(ranks.await_stream(kStream));
    EXPECT_TRUE(ranks.barrier());
  });
  EXPECT_EQ(world.joins, 4);
  EXPECT_EQ(world.leaves, 4);
  EXPECT_EQ(world.aborts, 0);
}

TEST(NcclCommunicator, InPlaceGatherKeepsTheRootsOwnPart) {
  FakeWorld world(2);
  on_ranks(world, milliseconds(20'000), [](NcclCommunicator& ranks, FakeNccl&) {
    std::vector<int> all = {ranks.rank() == 0 ? 5 : 6, -1};
    const std::span<std::byte> recv = std::as_writable_bytes(std::span(all));
    ASSERT_TRUE(ranks.gather(recv.first(4), ranks.rank() == 0 ? recv : std::span<std::byte>(), 0, kStream));
    if (ranks.rank() == 0) {
      EXPECT_EQ(all, (std::vector<int>{5, 6}));
    }
  });
}

TEST(NcclCommunicator, AStuckStreamNamesTheRankThatDoesNotComeAndAborts) {
  FakeWorld world(3);
  world.stuck = true;
  on_ranks(world, milliseconds(300), [](NcclCommunicator& ranks, FakeNccl&) {
    if (ranks.rank() == 2) {  // hangs: comes to no barrier until the others have given up
      while (ranks.check()) std::this_thread::yield();
      return;
    }
    const auto waited = ranks.await_stream(kStream);
    ASSERT_FALSE(waited.has_value());
    EXPECT_EQ(waited.error().code, Errc::rank_lost);
    EXPECT_NE(waited.error().message.find("rank 2"), std::string::npos) << waited.error().message;
    std::vector<int> word = {1};
    EXPECT_FALSE(ranks.broadcast(std::as_writable_bytes(std::span(word)), 0, kStream)) << "dead for ever";
  });
  EXPECT_EQ(world.aborts, 3);
  EXPECT_EQ(world.leaves, 0) << "an aborted group is not left in good order";
}

TEST(NcclCommunicator, AStuckGpuWithLiveHostsIsSaidSo) {
  FakeWorld world(2);
  world.stuck = true;
  on_ranks(world, milliseconds(200), [](NcclCommunicator& ranks, FakeNccl&) {
    const auto waited = ranks.await_stream(kStream);
    ASSERT_FALSE(waited.has_value());
    EXPECT_EQ(waited.error().code, Errc::rank_lost);
    EXPECT_NE(waited.error().message.find("stalled"), std::string::npos) << waited.error().message;
  });
  EXPECT_EQ(world.aborts, 2);
}

TEST(NcclCommunicator, ARefusedCallEndsTheGroupEverywhere) {
  FakeWorld world(2);
  on_ranks(world, milliseconds(20'000), [](NcclCommunicator& ranks, FakeNccl& fake) {
    if (ranks.rank() == 1) fake.refuse = "unhandled cuda error";
    std::vector<int> all(2);
    if (ranks.rank() == 1) {
      const std::vector<int> mine = {1};
      const auto sent = ranks.all_gather(bytes_of(mine), std::as_writable_bytes(std::span(all)), kStream);
      ASSERT_FALSE(sent.has_value());
      EXPECT_NE(sent.error().message.find("unhandled cuda error"), std::string::npos);
      EXPECT_NE(sent.error().message.find("rank 1"), std::string::npos);
    } else {
      while (ranks.check()) std::this_thread::yield();
    }
  });
  EXPECT_EQ(world.aborts, 2);
}

TEST(NcclCommunicator, AnErrorThatCameUpSinceIsReportedByCheck) {
  FakeWorld world(1);
  on_ranks(world, milliseconds(20'000), [](NcclCommunicator& ranks, FakeNccl& fake) {
    EXPECT_TRUE(ranks.check());
    fake.async_trouble = "remote process exited";
    const auto checked = ranks.check();
    ASSERT_FALSE(checked.has_value());
    EXPECT_NE(checked.error().message.find("remote process exited"), std::string::npos);
  });
}

TEST(NcclCommunicator, NoIdOnRankZeroIsAnErrorOnEveryRank) {
  FakeWorld world(2);
  auto hosts = tests::make_thread_group(2);
  std::vector<std::thread> threads;
  for (auto& host : hosts)
    threads.emplace_back([&world, host = std::move(host)]() mutable {
      auto made = NcclCommunicator::create(std::make_unique<FakeNccl>(world, "no driver"), std::move(host),
                                           milliseconds(20'000));
      ASSERT_FALSE(made.has_value());
      EXPECT_EQ(made.error().code, Errc::io);
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(world.joins, 0);
}

TEST(NcclCommunicator, SplitTakesItsOwnHosts) {
  FakeWorld world(1);
  on_ranks(world, milliseconds(20'000), [](NcclCommunicator& ranks, FakeNccl& fake) {
    auto hosts = tests::make_thread_group(1);
    auto part = ranks.split(7, std::move(hosts[0]));
    ASSERT_TRUE(part.has_value());
    EXPECT_EQ((*part)->size(), 1);
    EXPECT_EQ(fake.split_color, 7);
  });
}

TEST(NcclCommunicator, WithoutNcclSeveralGpuRanksAreRefused) {
  auto hosts = tests::make_thread_group(1);
  const auto made = wrap_for_device(std::move(hosts[0]), milliseconds(1));
  ASSERT_FALSE(made.has_value());
  EXPECT_NE(made.error().message.find("NCCL"), std::string::npos);
}

}  // namespace
}  // namespace leadline::transport
