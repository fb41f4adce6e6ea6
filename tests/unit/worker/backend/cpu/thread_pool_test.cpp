#include "worker/backend/cpu/thread_pool.h"

#include <gtest/gtest.h>

#include <sys/resource.h>
#include "worker/backend/cpu/machine_topology.h"

#include <chrono>
#include <numeric>
#include <vector>

namespace leadline::worker::cpu {
namespace {

TEST(ThreadPool, EveryIndexOnceForAnyCountAndThreads) {
  for (int threads : {1, 2, 3, 7}) {
    ThreadPool pool({threads, {}, true});
    for (std::int64_t count : {0, 1, 2, 3, 6, 7, 8, 1000}) {
      std::vector<int> seen(static_cast<std::size_t>(count), 0);
      pool.run(count, [&](int thread, std::int64_t begin, std::int64_t end) {
        EXPECT_TRUE(thread >= 0 && thread < threads);
        for (std::int64_t i = begin; i < end; ++i) ++seen[static_cast<std::size_t>(i)];
      });
      EXPECT_EQ(seen, std::vector<int>(static_cast<std::size_t>(count), 1)) << threads << " threads";
    }
  }
}

TEST(ThreadPool, EveryPieceIsClaimedOnce) {
  for (const int threads : {1, 2, 3, 7}) {
    ThreadPool pool({threads, {}, true});
    for (const std::int64_t count : {0, 1, 5, 6, 64, 1000}) {
      for (const std::int64_t grain : {1, 3, 64}) {
        std::vector<int> seen(static_cast<std::size_t>(count), 0);
        pool.run_claimed(count, grain, [&](int thread, std::int64_t begin, std::int64_t end) {
          EXPECT_TRUE(thread >= 0 && thread < threads);
          EXPECT_TRUE(begin < end && end - begin <= grain);
          for (std::int64_t i = begin; i < end; ++i) ++seen[static_cast<std::size_t>(i)];
        });
        EXPECT_EQ(seen, std::vector<int>(static_cast<std::size_t>(count), 1)) << threads << ", " << grain;
      }
    }
  }
}

TEST(ThreadPool, WritesOfOneCallAreSeenByTheNext) {
  ThreadPool pool({3, {}, false});
  std::vector<std::int64_t> v(300, 0);
  for (int round = 0; round < 2000; ++round) {
    pool.run(300, [&](int, std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) v[size_t(i)] += v[size_t((i * 7) % 300)] * 0 + 1;
    });
  }
  EXPECT_EQ(std::accumulate(v.begin(), v.end(), std::int64_t{0}), 300 * 2000);
}

TEST(ThreadPool, SharesDependOnTheCountsAlone) {
  ThreadPool pool({4, {}, true});
  for (int round = 0; round < 20; ++round) {
    std::vector<int> owner(10, -1);
    pool.run(10, [&](int thread, std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) owner[size_t(i)] = thread;
    });
    EXPECT_EQ(owner, (std::vector<int>{0, 0, 1, 1, 1, 2, 2, 3, 3, 3}));
  }
}

std::vector<int> cores_of_this_thread() {
  cpu_set_t set;
  std::vector<int> cores;
  if (pthread_getaffinity_np(pthread_self(), sizeof set, &set) != 0) return cores;
  for (int core = 0; core < CPU_SETSIZE; ++core)
    if (CPU_ISSET(core, &set)) cores.push_back(core);
  return cores;
}

TEST(ThreadPool, TheOwnerStaysOnItsCoreWhileHeldAndIsLetGo) {
  const std::vector<int> before = cores_of_this_thread();
  ASSERT_FALSE(before.empty());
  ThreadPool pool({2, {before.back(), before.front()}, true});
  {
    const OwnerHold hold(pool);
    EXPECT_EQ(cores_of_this_thread(), std::vector<int>{before.back()});
    std::vector<int> other;
    pool.run(2, [&](int thread, std::int64_t, std::int64_t) {
      if (thread == 1) other = cores_of_this_thread();
    });
    EXPECT_EQ(other, std::vector<int>{before.front()});
    pool.hold_owner();  // once more changes nothing
  }
  EXPECT_EQ(cores_of_this_thread(), before);
  ThreadPool alone({1, {before.back()}, true});
  const OwnerHold hold(alone);
  EXPECT_EQ(cores_of_this_thread(), before) << "one thread is in nobody's way";
}

// Not a timing: CPU time used by the whole process while every pool thread has nothing to do.
TEST(ThreadPool, AnIdlePoolSleeps) {
  ThreadPool pool({4, {}, true});
  pool.run(4, [](int, std::int64_t, std::int64_t) {});
  auto cpu_seconds = [] {
    rusage u;
    getrusage(RUSAGE_SELF, &u);
    return double(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           1e-6 * double(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
  };
  const double before = cpu_seconds();
  std::this_thread::sleep_for(std::chrono::milliseconds(400));
  EXPECT_LT(cpu_seconds() - before,
            0.2);  // three spinning threads would use 0.4 s or more on any machine with a core free
}

TEST(ThreadPool, ThereIsACore) {
  EXPECT_GE(available_cores(), 1);
}

TEST(ClaimedShare, PiecesCoverItOnceInOrderAndEndSmall) {
  for (const std::int64_t count : {1, 2, 3, 5, 31, 32, 64, 1000}) {
    for (const std::int64_t grain : {1, 2, 3, 8, 2000}) {
      const ClaimedShare share(7, 7 + count, grain);
      std::int64_t at = 7, last = 0;
      for (std::int64_t claim = 0; at < 7 + count; ++claim) {
        const auto [begin, end] = share.piece(claim);
        ASSERT_EQ(begin, at) << count << " by " << grain;
        ASSERT_GT(end, begin);
        ASSERT_LE(end - begin, grain);
        last = end - begin;
        at = end;
      }
      EXPECT_EQ(at, 7 + count);
      EXPECT_LE(last, (grain + 1) / 2);
      for (std::int64_t claim = count; claim < count + 3; ++claim) {
        const auto [begin, end] = share.piece(claim);
        EXPECT_GE(begin, end) << "beyond the share";
      }
    }
  }
}

}  // namespace
}  // namespace leadline::worker::cpu
