#include "worker/scheduler/scheduler.h"

#include <algorithm>
#include <tuple>

#include "monitoring/check.h"

namespace leadline::worker {
namespace {

constexpr std::uint32_t kSlotsPerPage = 16;  // kPageTokens, which scheduling knows as a number only

std::uint32_t pages_of(std::uint32_t tokens) {
  return tokens / kSlotsPerPage + (tokens % kSlotsPerPage != 0 ? 1 : 0);
}

enum class Fate : std::uint8_t { stays, stalls, swapped_out, dropped, swapped_in, admitted, unfit };

struct Entry {
  const SequenceView* view;
  Fate fate = Fate::stays;
  bool on_device = false;  // in this step
  [[nodiscard]] std::uint32_t left() const { return view->known_tokens - view->computed_tokens; }
};

// One call's working state: resources as they will be when the decisions so far are applied.
class Planner {
 public:
  Planner(std::span<const SequenceView> sequences, const CacheView& cache, const SchedulerLimits& limits)
      : limits_(limits), available_(cache.available_pages), host_free_(cache.host_free) {
    entries_.reserve(sequences.size());
    for (const SequenceView& v : sequences)
      entries_.push_back({&v, Fate::stays, v.state == SequenceState::running});
    std::sort(entries_.begin(), entries_.end(),
              [&](const Entry& a, const Entry& b) { return rank(a) < rank(b); });
    for (const Entry& e : entries_) residents_ += e.on_device ? 1 : 0;
  }

  Schedule run() {
    refuse_what_never_fits();
    keep_running();
    bring_in();
    Schedule out = fates();
    share_tokens(out);
    return out;
  }

 private:
  [[nodiscard]] std::tuple<std::int64_t, std::uint64_t> rank(const Entry& e) const {
    const auto arrival_step = static_cast<std::int64_t>(e.view->arrival_step);
    return {arrival_step - std::int64_t{e.view->priority} * limits_.aging_steps, e.view->arrival};
  }

  void refuse_what_never_fits() {
    for (Entry& e : entries_)
      if (pages_of(e.view->known_tokens) > limits_.total_pages) {
        if (e.on_device) leave_device(e);
        e.fate = Fate::unfit;
      }
  }

  void leave_device(Entry& e) {
    e.on_device = false;
    --residents_;
    available_ += e.view->sole_pages;
  }

  void preempt(Entry& e) {
    if (e.view->device_pages <= host_free_ && e.view->device_pages > 0) {
      host_free_ -= e.view->device_pages;
      e.fate = Fate::swapped_out;
    } else {
      e.fate = Fate::dropped;
    }
    leave_device(e);
  }

  // New pages for the longest chunk that this running sequence can get in one step.
  [[nodiscard]] std::uint32_t step_pages(const Entry& e) const {
    const std::uint32_t chunk = std::min(e.left(), limits_.max_step_tokens);
    const std::uint32_t pages = pages_of(e.view->computed_tokens + chunk);
    return (pages > e.view->device_pages ? pages - e.view->device_pages : 0) + e.view->tail_copies;
  }

  // Pages for this step, first in rank first; the last in rank lose theirs.
  void keep_running() {
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      Entry& e = entries_[i];
      if (!e.on_device) continue;
      const std::uint32_t need = step_pages(e);
      for (std::size_t j = entries_.size(); available_ < need && j-- > i + 1;)
        if (entries_[j].on_device) preempt(entries_[j]);
      if (available_ < need) {
        e.fate = Fate::stalls;
      } else {
        available_ -= need;
      }
    }
  }

  // Pages that running sequences will still take for the tokens that they know, beyond this step.
  [[nodiscard]] std::uint64_t promised_pages() const {
    std::uint64_t pages = 0;
    for (const Entry& e : entries_)
      if (e.on_device && e.fate != Fate::stalls) pages += later_pages(e);
    return pages;
  }
  [[nodiscard]] std::uint32_t later_pages(const Entry& e) const {
    const std::uint32_t chunk = std::min(e.left(), limits_.max_step_tokens);
    return pages_of(e.view->known_tokens) - pages_of(e.view->computed_tokens + chunk);
  }

  // Available pages that a waiting or swapped sequence takes until all its known tokens are computed.
  [[nodiscard]] static std::uint32_t entry_pages(const Entry& e) {
    const std::uint32_t all = pages_of(e.view->known_tokens);
    const bool waiting = e.view->state == SequenceState::waiting;
    return waiting ? all - std::min(all, e.view->device_pages) : std::max(all, e.view->host_pages);
  }

  [[nodiscard]] bool fits(const Entry& e, std::uint64_t available, std::uint64_t promised,
                          std::uint32_t residents) const {
    if (residents >= limits_.max_sequences) return false;
    const std::uint64_t spare = residents;  // so that those who run are not preempted at their next page
    return available >= promised + entry_pages(e) + spare;
  }

  // Running sequences of lower priority and rank than entries_[i], last first, until it would fit; empty if
  // that does not help.
  [[nodiscard]] std::vector<std::size_t> victims_for(std::size_t i, std::uint64_t promised) const {
    std::vector<std::size_t> victims;
    std::uint64_t available = available_;
    std::uint32_t residents = residents_;
    for (std::size_t j = entries_.size(); j-- > i + 1;) {
      const Entry& v = entries_[j];
      if (!v.on_device || v.view->state != SequenceState::running) continue;
      if (v.view->priority >= entries_[i].view->priority) continue;
      victims.push_back(j);
      available += v.view->sole_pages + (v.fate == Fate::stalls ? 0 : step_pages(v));
      promised -= v.fate == Fate::stalls ? 0 : later_pages(v);
      --residents;
      if (fits(entries_[i], available, promised, residents)) return victims;
    }
    return {};
  }

  void bring_in() {
    std::uint64_t promised = promised_pages();
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      Entry& e = entries_[i];
      if (e.fate == Fate::stalls || e.fate == Fate::swapped_out || e.fate == Fate::dropped)
        return;  // nor them
      if (e.on_device || e.fate == Fate::unfit || waits_for_prefix(*e.view, limits_)) continue;
      if (!fits(e, available_, promised, residents_)) {
        const std::vector<std::size_t> victims = victims_for(i, promised);
        if (victims.empty()) return;  // nobody passes one that does not fit
        for (const std::size_t v : victims) {
          if (entries_[v].fate != Fate::stalls) {
            available_ += step_pages(entries_[v]);
            promised -= later_pages(entries_[v]);
          }
          preempt(entries_[v]);
        }
      }
      e.fate = e.view->state == SequenceState::swapped ? Fate::swapped_in : Fate::admitted;
      e.on_device = true;
      ++residents_;
      available_ -= entry_pages(e);
    }
  }

  [[nodiscard]] Schedule fates() const {
    Schedule out;
    for (const Entry& e : entries_) switch (e.fate) {
        case Fate::unfit:
          out.unfit.push_back(e.view->id);
          break;
        case Fate::dropped:
          out.drop.push_back(e.view->id);
          break;
        case Fate::swapped_out:
          out.swap_out.push_back(e.view->id);
          break;
        case Fate::swapped_in:
          out.swap_in.push_back(e.view->id);
          break;
        case Fate::admitted:
          out.admit.push_back(e.view->id);
          break;
        case Fate::stays:
        case Fate::stalls:
          break;
      }
    return out;
  }

  // Every decode gets its token; prefills share the rest evenly, in chunks of at least min_chunk_tokens, in
  // rank order.
  void share_tokens(Schedule& out) {
    std::vector<const Entry*> runs;
    std::vector<std::uint32_t> tokens;
    std::uint32_t budget = limits_.max_step_tokens, prefills = 0;
    for (const Entry& e : entries_) {
      if (!e.on_device || e.fate == Fate::stalls) continue;
      const bool decode = e.left() == 1;
      runs.push_back(&e);
      tokens.push_back(decode ? 1 : 0);
      budget -= decode && budget > 0 ? 1 : 0;
      prefills += decode ? 0 : 1;
    }
    const std::vector<std::uint32_t> drafts = share_drafts(runs, prefills > 0 ? budget / 2 : budget);
    for (const std::uint32_t rows : drafts) budget -= rows;
    // Rounds of equal shares: what a short prompt leaves goes to the others in the next round.
    for (bool given = true; given && budget > 0 && prefills > 0;) {
      given = false;
      const std::uint32_t share = std::max(budget / prefills, limits_.min_chunk_tokens);
      for (std::size_t i = 0; i < runs.size() && budget > 0; ++i) {
        const std::uint32_t more = std::min({runs[i]->left() - tokens[i], share, budget});
        if (more == 0) continue;
        tokens[i] += more;
        budget -= more;
        given = true;
        if (tokens[i] == runs[i]->left()) --prefills;
      }
    }
    for (std::size_t i = 0; i < runs.size(); ++i)
      if (tokens[i] > 0) out.run.push_back({runs[i]->view->id, tokens[i], drafts[i]});
  }

  // One row each in turn, in rank order, while rows and spare pages last: few drafts for all rather than many
  // for some, for the first draft of a round is the likeliest to stand.
  std::vector<std::uint32_t> share_drafts(const std::vector<const Entry*>& runs, std::uint32_t budget) {
    std::vector<std::uint32_t> drafts(runs.size(), 0);
    budget = std::min(budget, limits_.max_draft_rows);
    for (bool given = true; given && budget > 0;) {
      given = false;
      for (std::size_t i = 0; i < runs.size() && budget > 0; ++i) {
        const SequenceView& v = *runs[i]->view;
        if (runs[i]->left() != 1 || v.state != SequenceState::running || drafts[i] >= v.draft_tokens)
          continue;
        const std::uint32_t held = std::max(v.device_pages, pages_of(v.known_tokens + drafts[i]));
        const std::uint32_t more = pages_of(v.known_tokens + drafts[i] + 1) > held ? 1 : 0;
        if (available_ < more) continue;
        available_ -= more;
        ++drafts[i];
        --budget;
        given = true;
      }
    }
    return drafts;
  }

  // Constant after construction.
  const SchedulerLimits& limits_;
  // Updated by each decision.
  std::vector<Entry> entries_;  // rank order
  std::uint64_t available_;
  std::uint32_t host_free_;
  std::uint32_t residents_ = 0;
};

}  // namespace

bool waits_for_prefix(const SequenceView& view, const SchedulerLimits& limits) {
  return view.state == SequenceState::waiting && view.soon_tokens >= limits.min_chunk_tokens;
}

std::string check(const SchedulerLimits& limits) {
  if (limits.max_sequences == 0) return "max_sequences is 0";
  if (limits.min_chunk_tokens == 0) return "min_chunk_tokens is 0";
  if (limits.total_pages == 0) return "total_pages is 0";
  if (limits.max_step_tokens < limits.max_sequences)
    return "max_step_tokens " + std::to_string(limits.max_step_tokens) + " is less than max_sequences " +
           std::to_string(limits.max_sequences) + ": not every sequence could run in a step";
  return {};
}

Schedule schedule(std::span<const SequenceView> sequences, const CacheView& cache,
                  const SchedulerLimits& limits) {
  LEADLINE_CHECK(check(limits).empty(), "scheduler limits");
  for (const SequenceView& v : sequences)
    LEADLINE_CHECK(v.computed_tokens < v.known_tokens, "a sequence with nothing to run");
  return Planner(sequences, cache, limits).run();
}

}  // namespace leadline::worker
