// Whole lives of random sequences: schedule() and SequenceCache drive a fake device whose every slot is
// checked at every read; decodes draft rows of which a random prefix stands. Laws: budget and residents
// within limits, no page with wrong bytes, no leak, nobody passes one that outranks it, decodes run in every
// step unless short of a page, the first in rank always advances, all work finishes.
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <random>
#include <set>
#include <tuple>

#include "tests/support/fake_kv_memory.h"
#include "worker/scheduler/scheduler.h"

namespace leadline::worker {
namespace {

struct Life {
  SequenceView view;
  std::vector<std::int32_t> known;
  std::size_t final_tokens = 0;  // prompt and answer
  kvstore::TenantSalt salt{};
  std::uint32_t preemptions = 0;
};

struct Setup {
  std::uint32_t pages, host_pages;
  bool prefix_reuse;
  SchedulerLimits limits;
  std::uint32_t sequences, longest;
};

Setup random_setup(std::mt19937& rng) {
  Setup s;
  s.pages = 6 + rng() % 40;
  s.host_pages = rng() % 3 == 0 ? 0 : rng() % 40;
  s.prefix_reuse = rng() % 4 != 0;
  s.limits.max_sequences = 1 + rng() % 8;
  s.limits.max_step_tokens = s.limits.max_sequences + rng() % 80;
  s.limits.min_chunk_tokens = 1 + rng() % 32;
  s.limits.aging_steps = rng() % 50;
  s.limits.max_draft_rows = rng() % 3 == 0 ? 0 : rng() % 24;
  s.limits.total_pages = s.pages;
  s.sequences = 30;
  s.longest = s.pages * 16;
  return s;
}

class Simulation {
 public:
  Simulation(const Setup& setup, std::uint32_t seed)
      : setup_(setup),
        rng_(seed),
        cache_({.pages = setup.pages, .host_pages = setup.host_pages, .prefix_reuse = setup.prefix_reuse}),
        memory_(setup.pages, setup.host_pages) {}

  void run() {
    for (step_ = 0; arrived_ < setup_.sequences || !lives_.empty(); ++step_) {
      ASSERT_LT(step_, 60000U) << "work does not finish";
      if (arrived_ < setup_.sequences && rng_() % 4 == 0) arrive();
      if (!lives_.empty() && rng_() % 200 == 0) cancel();
      if (rng_() % 20 == 0) fork();
      one_step();
      if (::testing::Test::HasFailure()) return;
    }
    EXPECT_EQ(cache_.usage().used, 0U);
    EXPECT_EQ(cache_.usage().host_free, setup_.host_pages);
  }
  std::uint64_t preempted = 0, resumed = 0, hits = 0, refused = 0, ran = 0, copies = 0, drafted = 0,
                stood = 0;

 private:
  void arrive() {
    Life life;
    life.view.id = SequenceId{++arrived_};
    life.view.arrival = arrived_;
    life.view.arrival_step = step_;
    life.view.priority = static_cast<std::int32_t>(rng_() % 3) - 1;
    life.final_tokens = 2 + rng_() % (setup_.longest - 1);
    const std::size_t prompt = 1 + rng_() % std::min<std::size_t>(life.final_tokens - 1, 200);
    const auto family =
        static_cast<std::int32_t>(rng_() % 3);  // prompts of a family are prefixes of one text
    for (std::size_t i = 0; i < prompt; ++i)
      life.known.push_back(family * 1000 + static_cast<std::int32_t>(i));
    life.final_tokens = std::min(life.final_tokens, prompt + 1 + rng_() % 120);
    life.salt[0] = static_cast<std::uint8_t>(rng_() % 2);
    cache_.add(life.view.id, life.known, life.salt);
    lives_.emplace(life.view.id, std::move(life));
  }
  void cancel() {
    auto it = std::next(lives_.begin(), static_cast<std::ptrdiff_t>(rng_() % lives_.size()));
    cache_.release(it->first);
    lives_.erase(it);
  }

  // A second sequence over the pages of a running one: shares them until either writes.
  void fork() {
    for (auto& [id, life] : lives_) {
      if (life.view.state != SequenceState::running || cache_.computed(id) == 0) continue;
      if (forked_ == setup_.sequences || residents() >= setup_.limits.max_sequences) return;
      Life twin = life;
      twin.view.id = SequenceId{++forked_ + 1'000'000};
      twin.view.arrival = twin.view.id.value;
      twin.view.arrival_step = step_;
      twin.known.resize(cache_.computed(id));
      twin.known.push_back(static_cast<std::int32_t>(rng_() % 1000));  // goes on differently
      twin.final_tokens = std::max(twin.final_tokens, twin.known.size() + 1);
      if (twin.final_tokens > setup_.longest) return;
      cache_.fork(id, twin.view.id);
      lives_.emplace(twin.view.id, std::move(twin));
      return;
    }
  }
  [[nodiscard]] std::uint32_t residents() const {
    std::uint32_t n = 0;
    for (const auto& [id, life] : lives_) n += life.view.state == SequenceState::running ? 1 : 0;
    return n;
  }

  [[nodiscard]] auto rank(const SequenceView& v) const {
    return std::tuple(
        static_cast<std::int64_t>(v.arrival_step) - std::int64_t{v.priority} * setup_.limits.aging_steps,
        v.arrival);
  }

  std::vector<SequenceView> views() {
    std::vector<SequenceView> out;
    for (auto& [id, life] : lives_) {
      SequenceView& v = life.view;
      v.known_tokens = static_cast<std::uint32_t>(life.known.size());
      if (v.state == SequenceState::waiting) {
        const PrefixHit hit = cache_.peek(id);
        v.computed_tokens = hit.tokens;
        v.device_pages = hit.held_pages;
        v.sole_pages = v.host_pages = v.tail_copies = 0;
      } else {
        v.computed_tokens = cache_.computed(id);
        v.device_pages = cache_.device_pages(id);
        v.sole_pages = cache_.sole_pages(id);
        v.tail_copies = cache_.tail_copies(id);
        v.host_pages = cache_.host_pages(id);
      }
      v.draft_tokens = rng_() % 9;  // asked of all: only running decodes may be given any
      out.push_back(v);
    }
    return out;
  }

  void one_step() {
    const std::vector<SequenceView> before = views();
    const CacheUsage usage = cache_.usage();
    const Schedule s =
        schedule(before, {.available_pages = usage.available(), .host_free = usage.host_free}, setup_.limits);
    apply(s);
    laws(before, s);
    execute(s);
  }

  void apply(const Schedule& s) {
    EXPECT_TRUE(s.unfit.empty());
    for (const SequenceId id : s.drop) {
      Life& life = lives_.at(id);
      cache_.release(id);
      cache_.add(id, life.known, life.salt);
      life.view.state = SequenceState::waiting;
      ++preempted;
    }
    for (const SequenceId id : s.swap_out) {
      EXPECT_TRUE(cache_.swap_out(id));
      lives_.at(id).view.state = SequenceState::swapped;
      ++preempted;
    }
    for (const SequenceId id : s.swap_in) {
      if (!cache_.swap_in(id)) {
        ++refused;
        continue;
      }
      lives_.at(id).view.state = SequenceState::running;
      ++resumed;
    }
    for (const SequenceId id : s.admit) {
      hits += cache_.admit(id).tokens;
      lives_.at(id).view.state = SequenceState::running;
    }
  }

  void laws(const std::vector<SequenceView>& before, const Schedule& s) const {
    std::uint32_t tokens = 0, residents = 0, drafts = 0;
    std::map<SequenceId, SequenceView> seen;
    for (const SequenceView& v : before) seen.emplace(v.id, v);
    std::map<SequenceId, std::uint32_t> runs;
    for (const ScheduledSequence& r : s.run) {
      EXPECT_GE(r.tokens, 1U);
      EXPECT_TRUE(runs.emplace(r.id, r.tokens).second) << "scheduled twice";
      tokens += r.tokens + r.drafts;
      drafts += r.drafts;
      const SequenceView& v = seen.at(r.id);
      EXPECT_LE(r.drafts, v.draft_tokens);
      EXPECT_TRUE(r.drafts == 0 ||
                  (v.state == SequenceState::running && v.known_tokens - v.computed_tokens == 1));
    }
    EXPECT_LE(drafts, setup_.limits.max_draft_rows);
    EXPECT_LE(tokens, setup_.limits.max_step_tokens);
    std::set<SequenceId> entered(s.swap_in.begin(), s.swap_in.end()),
        left(s.swap_out.begin(), s.swap_out.end());
    entered.insert(s.admit.begin(), s.admit.end());
    left.insert(s.drop.begin(), s.drop.end());
    const SequenceView* first = nullptr;
    for (const SequenceView& v : before) {
      if (first == nullptr || rank(v) < rank(*first)) first = &v;
      const bool resident =
          (v.state == SequenceState::running && !left.contains(v.id)) || entered.contains(v.id);
      residents += resident ? 1 : 0;
      EXPECT_TRUE(resident || !runs.contains(v.id));
      if (resident && v.known_tokens - v.computed_tokens == 1 && !runs.contains(v.id)) {
        EXPECT_TRUE(v.computed_tokens % 16 == 0 || v.tail_copies > 0)
            << "a decode that has its page does not run";
      }
      for (const SequenceView& o : before) {
        EXPECT_TRUE(resident || !entered.contains(o.id) || rank(o) < rank(v)) << "one that waits was passed";
        const bool stays = o.state == SequenceState::running && !left.contains(o.id);
        EXPECT_TRUE(!left.contains(v.id) || !stays || rank(o) < rank(v) || o.priority >= v.priority);
      }
    }
    EXPECT_LE(residents, setup_.limits.max_sequences);
    EXPECT_TRUE(first == nullptr || !left.contains(first->id)) << "the first in rank is preempted";
  }

  void execute(const Schedule& s) {
    struct Row {
      SequenceId id;
      std::uint32_t before, tokens, drafts;
    };
    std::vector<Row> rows;
    for (const ScheduledSequence& r : s.run) {
      if (lives_.at(r.id).view.state != SequenceState::running) continue;  // its swap-in was refused
      const std::uint32_t computed = cache_.computed(r.id);
      const auto known = static_cast<std::uint32_t>(lives_.at(r.id).known.size());
      const std::uint32_t n = std::min(r.tokens, known - computed);
      if (cache_.reserve(r.id, n + r.drafts)) {
        rows.push_back({r.id, computed, n, r.drafts});
      } else {
        ++refused;
      }
    }
    const PlanMoves moves = cache_.take_moves();
    copies += moves.copies.size();
    memory_.apply(moves);
    for (const Row& row : rows) {
      Life& life = lives_.at(row.id);
      // Drafts, of which a prefix stands: those that equal what the answer would have said anyway.
      std::vector<std::int32_t> inputs = life.known;
      const std::size_t most = life.final_tokens - life.known.size();  // its answer ends there
      const std::uint32_t stand =
          std::min<std::uint32_t>(row.drafts == 0 ? 0 : rng_() % (row.drafts + 1),
                                  most == 0 ? 0 : static_cast<std::uint32_t>(most - 1));
      for (std::uint32_t i = 0; i < row.drafts; ++i)
        inputs.push_back(i < stand ? static_cast<std::int32_t>(inputs.size() % 5) : 777);
      memory_.run(cache_.table(row.id), inputs, row.before, row.tokens + row.drafts);
      cache_.commit(row.id, std::span(inputs).subspan(row.before, row.tokens + stand));
      life.known.insert(life.known.end(), inputs.begin() + static_cast<std::ptrdiff_t>(life.known.size()),
                        inputs.begin() + static_cast<std::ptrdiff_t>(life.known.size() + stand));
      ++ran;
      drafted += row.drafts;
      stood += stand;
      if (row.before + row.tokens + stand < life.known.size()) continue;
      life.known.push_back(
          static_cast<std::int32_t>(life.known.size() % 5));  // answers of one prompt agree: hits
      if (life.known.size() < life.final_tokens) continue;
      cache_.release(row.id);
      lives_.erase(row.id);
    }
  }

  const Setup setup_;
  std::mt19937 rng_;
  SequenceCache cache_;
  testing::FakeKvMemory memory_;
  std::map<SequenceId, Life> lives_;
  std::uint64_t step_ = 0, arrived_ = 0, forked_ = 0;
};

std::uint32_t rounds() {
  const char* factor = std::getenv("LEADLINE_PROPERTY_ROUNDS");
  return 300 * (factor != nullptr ? static_cast<std::uint32_t>(std::atoi(factor)) : 1);
}

TEST(SchedulerProperty, AllWorkFinishesWithTheRightBytes) {
  std::uint64_t preempted = 0, resumed = 0, hits = 0, refused = 0, ran = 0, copies = 0, drafted = 0,
                stood = 0;
  for (std::uint32_t seed = 0; seed < rounds(); ++seed) {
    std::mt19937 rng(seed);
    Simulation simulation(random_setup(rng), seed + 1000);
    simulation.run();
    ASSERT_FALSE(HasFailure()) << "seed " << seed;
    preempted += simulation.preempted;
    resumed += simulation.resumed;
    hits += simulation.hits;
    refused += simulation.refused;
    ran += simulation.ran;
    copies += simulation.copies;
    drafted += simulation.drafted;
    stood += simulation.stood;
  }
  RecordProperty("preempted", static_cast<int>(preempted));
  // The runs must have met what they are about.
  EXPECT_GT(preempted, 500U);
  EXPECT_GT(resumed, 200U);
  EXPECT_GT(hits, 10000U);
  EXPECT_GT(copies, 300U);
  EXPECT_GT(drafted, 10000U);
  EXPECT_GT(drafted - stood, 3000U);
  EXPECT_LT(refused, ran / 100) << "the scheduler's accounting is off";
  std::printf("preempted %llu, resumed %llu, hit tokens %llu, refused %llu of %llu\n",
              static_cast<unsigned long long>(preempted), static_cast<unsigned long long>(resumed),
              static_cast<unsigned long long>(hits), static_cast<unsigned long long>(refused),
              static_cast<unsigned long long>(ran));
}

// A steady stream of urgent work may delay the rest, but only for a bounded time: a level is worth
// aging_steps steps.
TEST(SchedulerProperty, LowPriorityIsNotStarvedByAStreamOfUrgentWork) {
  const SchedulerLimits limits{
      .max_sequences = 2, .max_step_tokens = 16, .min_chunk_tokens = 8, .aging_steps = 20, .total_pages = 64};
  std::map<SequenceId, SequenceView> lives;
  SequenceView low{.id = SequenceId{1}, .arrival = 1, .known_tokens = 64};
  lives[low.id] = low;
  std::uint64_t next = 2, finished_at = 0;
  for (std::uint64_t step = 0; step < 500 && finished_at == 0; ++step) {
    for (int i = 0; i < 2; ++i, ++next)  // more urgent work than the budget can do
      lives[SequenceId{next}] = {
          .id = SequenceId{next}, .arrival = next, .arrival_step = step, .priority = 3, .known_tokens = 40};
    std::vector<SequenceView> views;
    for (const auto& [id, v] : lives) views.push_back(v);
    const Schedule s = schedule(views, {.available_pages = 64, .host_free = 64}, limits);
    for (const SequenceId id : s.admit) lives[id].state = SequenceState::running;
    for (const SequenceId id : s.swap_in) lives[id].state = SequenceState::running;
    for (const SequenceId id : s.swap_out) lives[id].state = SequenceState::swapped;
    for (const SequenceId id : s.drop)
      lives[id].state = SequenceState::waiting, lives[id].computed_tokens = 0;
    for (const ScheduledSequence& r : s.run) {
      SequenceView& v = lives[r.id];
      v.computed_tokens += r.tokens;
      if (v.computed_tokens < v.known_tokens) continue;
      if (r.id == low.id) finished_at = step;
      lives.erase(r.id);
    }
  }
  EXPECT_GT(finished_at, 10U);  // urgent work did come first
  // Those that outrank it came in the first 60 steps: 120 of 40 tokens, 16 a step, and its own 64.
  EXPECT_GT(finished_at, 0U);
  EXPECT_LE(finished_at, 120 * 40 / 16 + 64 / 8 + 10U);
}

}  // namespace
}  // namespace leadline::worker
