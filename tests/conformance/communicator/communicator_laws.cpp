#include "tests/conformance/communicator/communicator_laws.h"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstring>
#include <thread>

namespace leadline::tests {

namespace {

using transport::Communicator;
using transport::Errc;
using Bytes = std::vector<std::byte>;
using Clock = std::chrono::steady_clock;

#define LAW(condition, text)                                                                           \
  do {                                                                                                 \
    if (!(condition)) return std::string(text) + " [" #condition "] line " + std::to_string(__LINE__); \
  } while (false)

// Slots of the shared memory are 256 KiB: sizes around it, and odd ones.
constexpr std::size_t kSizes[] = {
    0, 1, 3, 7, 64, 1000, 4097, (256u << 10) - 1, 256u << 10, (256u << 10) + 1, (1u << 20) + 13};

std::byte expected(int rank, std::size_t i, int round) {
  return static_cast<std::byte>(
      (static_cast<std::size_t>(rank) * 131 + i * 7 + (i >> 8) + static_cast<std::size_t>(round) * 17) & 255);
}
void fill(std::span<std::byte> part, int rank, int round) {
  for (std::size_t i = 0; i < part.size(); ++i) part[i] = expected(rank, i, round);
}
bool holds(std::span<const std::byte> part, int rank, int round) {
  for (std::size_t i = 0; i < part.size(); ++i) {
    if (part[i] != expected(rank, i, round)) return false;
  }
  return true;
}
long elapsed_ms(Clock::time_point since) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - since).count();
}
int last_rank(const Communicator& group) {
  return group.size() - 1;
}
std::string named(int rank) {
  return "rank " + std::to_string(rank);
}

std::string all_gather_gives_every_part_to_all(Communicator& group) {
  int round = 0;
  for (const std::size_t size : kSizes) {
    for (const bool in_place : {false, true}) {
      ++round;
      Bytes recv(size * static_cast<std::size_t>(group.size())), own(size);
      std::span<std::byte> part =
          std::span(recv).subspan(size * static_cast<std::size_t>(group.rank()), size);
      fill(in_place ? part : std::span(own), group.rank(), round);
      auto done = group.all_gather(in_place ? part : std::span(own), recv, nullptr);
      LAW(done, done ? "" : done.error().message);
      for (int rank = 0; rank < group.size(); ++rank) {
        LAW(holds(std::span(recv).subspan(size * static_cast<std::size_t>(rank), size), rank, round),
            "part of " + named(rank) + ", " + std::to_string(size) + " bytes");
      }
    }
  }
  return "";
}

std::string gather_writes_the_root_only(Communicator& group) {
  int round = 100;
  for (const std::size_t size : kSizes) {
    for (int root = 0; root < group.size(); ++root) {
      ++round;
      const bool is_root = group.rank() == root;
      Bytes own(size), recv(is_root ? size * static_cast<std::size_t>(group.size()) : 0);
      fill(own, group.rank(), round);
      auto done = group.gather(own, recv, root, nullptr);
      LAW(done, done ? "" : done.error().message);
      LAW(holds(own, group.rank(), round), "the sent buffer changed");
      for (int rank = 0; is_root && rank < group.size(); ++rank) {
        LAW(holds(std::span(recv).subspan(size * static_cast<std::size_t>(rank), size), rank, round),
            named(rank));
      }
    }
  }
  return "";
}

std::string broadcast_copies_the_root(Communicator& group) {
  int round = 300;
  for (const std::size_t size : kSizes) {
    for (int root = 0; root < group.size(); ++root) {
      ++round;
      Bytes buffer(size);
      if (group.rank() == root) fill(buffer, root, round);
      auto done = group.broadcast(buffer, root, nullptr);
      LAW(done, done ? "" : done.error().message);
      LAW(holds(buffer, root, round),
          "root " + std::to_string(root) + ", " + std::to_string(size) + " bytes");
    }
  }
  return "";
}

// Many small rounds of changing kinds: a rank that runs ahead must not overwrite what another still reads.
std::string mixed_rounds_stay_in_order(Communicator& group) {
  for (int round = 0; round < 300; ++round) {
    const std::size_t size = 1 + static_cast<std::size_t>(round * 37 % 500);
    const int root = round % group.size();
    Bytes own(size), recv(size * static_cast<std::size_t>(group.size()));
    fill(own, group.rank(), round);
    transport::Result<void> done;
    if (round % 4 == 0) {
      done = group.all_gather(own, recv, nullptr);
      LAW(done && holds(std::span(recv).subspan(size * static_cast<std::size_t>(root), size), root, round),
          "all_gather");
    } else if (round % 4 == 1) {
      done =
          group.gather(own, group.rank() == root ? std::span(recv) : std::span<std::byte>(), root, nullptr);
      LAW(done && (group.rank() != root || holds(std::span(recv).subspan(0, size), 0, round)), "gather");
    } else if (round % 4 == 2) {
      done = group.broadcast(own, root, nullptr);
      LAW(done && holds(own, root, round), "broadcast");
    } else {
      LAW(group.barrier(), "barrier");
    }
  }
  return "";
}

std::string plans_arrive_whole_and_in_order(Communicator& group) {
  const std::size_t sizes[] = {1, 100, 70'000, 5u << 20, 8, 8, 8, 8, 8, 8, 8, 8, 0};
  int round = 0;
  for (const std::size_t size : sizes) {
    ++round;
    if (group.rank() == 0) {
      Bytes plan(size);
      fill(plan, 0, round);
      auto sent = group.announce_plan(plan);
      LAW(sent, sent ? "" : sent.error().message);
    } else {
      auto plan = group.await_plan();
      LAW(plan, plan ? "" : plan.error().message);
      LAW(plan->size() == size && holds(*plan, 0, round), "plan " + std::to_string(round));
    }
    Bytes own(64), recv(64 * static_cast<std::size_t>(group.size()));
    if (round % 3 == 0) LAW(group.all_gather(own, recv, nullptr), "collective between plans");
  }
  const Bytes huge(Communicator::kMaxPlanBytes + 1);
  if (group.rank() == 0) {
    auto refused = group.announce_plan(huge);
    LAW(!refused && refused.error().code == Errc::too_large, "a plan beyond the limit is refused");
  }
  auto alive = group.barrier();
  LAW(alive, alive ? "" : alive.error().message);
  return "";
}

// The waiting itself is what is measured: one second of it may cost 30 ms of CPU.
std::string waiting_for_a_plan_is_sleep(Communicator& group) {
  rusage before{}, after{};
  ::getrusage(RUSAGE_SELF, &before);
  if (group.rank() == 0) {
    std::this_thread::sleep_for(std::chrono::seconds(1));
    LAW(group.announce_plan(Bytes(1)), "announce");
  } else {
    LAW(group.await_plan(), "await");
  }
  ::getrusage(RUSAGE_SELF, &after);
  const auto us = [](const rusage& u) {
    return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1'000'000L + u.ru_utime.tv_usec + u.ru_stime.tv_usec;
  };
  LAW(us(after) - us(before) < 30'000, "CPU in us: " + std::to_string(us(after) - us(before)));
  return "";
}

std::string dead_for_ever(Communicator& group, const std::string& reason) {
  const auto start = Clock::now();
  Bytes own(8), recv(8 * static_cast<std::size_t>(group.size()));
  auto gathered = group.all_gather(own, recv, nullptr);
  LAW(!gathered && gathered.error().code == Errc::rank_lost && gathered.error().message == reason,
      "all_gather after");
  auto barrier = group.barrier();
  LAW(!barrier && barrier.error().message == reason, "barrier after");
  auto check = group.check();
  LAW(!check && check.error().message == reason, "check after");
  if (group.rank() == 0) {
    auto plan = group.announce_plan(own);
    LAW(!plan && plan.error().message == reason, "announce after");
  } else {
    auto plan = group.await_plan();
    LAW(!plan && plan.error().message == reason, "await after");
  }
  LAW(elapsed_ms(start) < 500, "later calls fail at once, took ms " + std::to_string(elapsed_ms(start)));
  return "";
}

std::string loss_in_all_gather(Communicator& group, int lost, long at_least_ms, long at_most_ms) {
  const auto start = Clock::now();
  Bytes own(1000), recv(1000 * static_cast<std::size_t>(group.size()));
  auto done = group.all_gather(own, recv, nullptr);
  const long took = elapsed_ms(start);
  LAW(!done && done.error().code == Errc::rank_lost, "the loss is an error");
  LAW(done.error().message.find(named(lost)) != std::string::npos, done.error().message);
  LAW(took >= at_least_ms && took <= at_most_ms,
      "took ms " + std::to_string(took) + ": " + done.error().message);
  return dead_for_ever(group, done.error().message);
}

std::string a_stalled_rank_is_named(Communicator& group) {
  LAW(group.barrier(), "barrier");
  if (group.rank() != last_rank(group)) {
    return loss_in_all_gather(group, last_rank(group), kStallLimitMs / 2, kStallLimitMs + 1'500);
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(kStallLimitMs + 700));  // the stall
  Bytes own(1000), recv(1000 * static_cast<std::size_t>(group.size()));
  auto late = group.all_gather(own, recv, nullptr);
  LAW(!late && late.error().message.find(named(group.rank())) != std::string::npos,
      "the stalled rank learns of it");
  return dead_for_ever(group, late.error().message);
}

// The others are to be past the barrier too: a part of it may still be on its way in MPI, and under a
// sanitizer they are slow.
void let_the_others_leave_the_barrier() {
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
}

void die_after_the_barrier() {
  let_the_others_leave_the_barrier();
  ::kill(::getpid(), SIGKILL);
}

std::string a_dead_rank_is_named(Communicator& group) {
  LAW(group.barrier(), "barrier");
  if (group.rank() == last_rank(group)) die_after_the_barrier();
  return loss_in_all_gather(group, last_rank(group), 0, 900);
}

std::string a_dead_rank_ends_await_plan(Communicator& group) {
  LAW(group.barrier(), "barrier");
  if (group.rank() == last_rank(group)) die_after_the_barrier();
  const auto start = Clock::now();
  if (group.rank() != 0) {
    auto plan = group.await_plan();
    LAW(!plan && plan.error().code == Errc::rank_lost, "await_plan ends");
  } else {
    while (group.check() && elapsed_ms(start) < 5'000)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  auto why = group.check();
  LAW(!why && why.error().message.find(named(last_rank(group))) != std::string::npos, "the rank is named");
  LAW(elapsed_ms(start) < 900, "took ms " + std::to_string(elapsed_ms(start)));
  return dead_for_ever(group, why.error().message);
}

std::string fail_from_any_thread_reaches_all(Communicator& group) {
  LAW(group.barrier(), "barrier");
  const auto start = Clock::now();
  std::thread other;
  if (group.rank() == last_rank(group)) {
    other = std::thread([&] {
      let_the_others_leave_the_barrier();
      group.fail("operator said so");
    });
  }
  transport::Result<void> end;
  Bytes own(8), recv(8 * static_cast<std::size_t>(group.size()));
  if (group.rank() == 0) {
    while (end && elapsed_ms(start) < 5'000) end = group.all_gather(own, recv, nullptr);
  } else {
    auto plan = group.await_plan();
    if (!plan) end = tl::unexpected(plan.error());
  }
  if (other.joinable()) other.join();
  LAW(!end && end.error().message == "operator said so", end ? "no error" : end.error().message);
  LAW(elapsed_ms(start) < 900, "took ms " + std::to_string(elapsed_ms(start)));
  return dead_for_ever(group, end.error().message);
}

// Not a law but a number: time of an 8 KiB all_gather, as a layer of the model makes it.
std::string report_latency(Communicator& group) {
  Bytes own(8192), recv(8192 * static_cast<std::size_t>(group.size()));
  for (int i = 0; i < 50; ++i) (void)group.all_gather(own, recv, nullptr);
  const auto start = Clock::now();
  constexpr int kRounds = 1'000;
  for (int i = 0; i < kRounds; ++i) LAW(group.all_gather(own, recv, nullptr), "all_gather");
  const double us = std::chrono::duration<double, std::micro>(Clock::now() - start).count() / kRounds;
  if (group.rank() == 0)
    std::fprintf(stderr, "%s, %d ranks: all_gather of 8 KiB %.1f us\n", group.name(), group.size(), us);
  return "";
}

}  // namespace

const std::vector<Law>& communicator_laws() {
  static const std::vector<Law> laws = {
      {"all_gather", all_gather_gives_every_part_to_all, false, false, 1},
      {"gather", gather_writes_the_root_only, false, false, 1},
      {"broadcast", broadcast_copies_the_root, false, false, 1},
      {"mixed", mixed_rounds_stay_in_order, false, false, 1},
      {"plans", plans_arrive_whole_and_in_order, false, false, 1},
      {"idle", waiting_for_a_plan_is_sleep, false, false, 1},
      {"latency", report_latency, false, false, 1},
      {"stall", a_stalled_rank_is_named, true, false, 2},
      {"death", a_dead_rank_is_named, true, true, 2},
      {"death_idle", a_dead_rank_ends_await_plan, true, true, 2},
      {"fail", fail_from_any_thread_reaches_all, true, false, 2},
  };
  return laws;
}

}  // namespace leadline::tests
