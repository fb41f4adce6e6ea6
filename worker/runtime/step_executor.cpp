#include "worker/runtime/step_executor.h"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <string>
#include <utility>

namespace leadline::worker {
namespace {

std::uint64_t us_since(std::chrono::steady_clock::time_point start) {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - start)
          .count());
}

tl::unexpected<Error> bad_page(std::string_view what, std::uint32_t page, std::uint32_t limit) {
  return monitoring::fail(Errc::configuration, "step plan: " + std::string(what) + " " +
                                                   std::to_string(page) + " of " + std::to_string(limit));
}

}  // namespace

StepExecutor::StepExecutor(Backend& backend, Transformer& transformer, KvPool& pool, PageGeometry geometry,
                           transport::Communicator& ranks, Compressor* compressor)
    : backend_(backend),
      transformer_(transformer),
      pool_(pool),
      geometry_(geometry),
      compressor_(compressor),
      drafter_(transformer, ranks, {transformer.vocab(), transformer.layers(), geometry.local_kv_heads}) {
  add_place(pool, geometry.units_per_page());
}

// A page's place in its sequence decided that it is time (exactness X5); what becomes of it follows from its
// own bytes, so every rank does its heads alone.
Result<void> StepExecutor::quantise_pages(const StepPlan& plan) {
  const std::uint32_t units = geometry_.units_per_page();
  if (!plan.quantise.empty() && codec_ == nullptr)
    return monitoring::fail(Errc::configuration, "step plan: pages to quantise without a codec");
  page_.resize(plan.quantise.empty() ? 0 : units * static_cast<std::size_t>(pool_.unit_bytes()));
  for (const PageId page : plan.quantise) {
    if (page.value >= geometry_.pages) return bad_page("quantised page", page.value, geometry_.pages);
    units_.resize(units);
    std::iota(units_.begin(), units_.end(), page.value * units);
    backend_.read_units(pool_, units_, page_.data());
    codec_->seal(page_);
    backend_.write_units(pool_, units_, page_.data());
  }
  return {};
}

void StepExecutor::add_place(KvPool& pool, std::uint32_t units_per_page) {
  const std::size_t page_bytes = units_per_page * static_cast<std::size_t>(pool.unit_bytes());
  places_.push_back({&pool, units_per_page,
                     std::make_unique_for_overwrite<std::byte[]>(geometry_.host_pages * page_bytes)});
}

void StepExecutor::use_draft_group(DraftGroup* group) {
  draft_group_ = group;
  if (group->pool() != nullptr) add_place(*group->pool(), group->units_per_page());
}

void StepExecutor::use_exits(ShadowSlots slots) {
  shadows_ = std::move(slots);
  drafter_.use_exits(shadows_.exits);
  verifier_.use_exits(shadows_.exits);
}

// Where a draft rank drafts alone, the others never see what passes the exits: nothing is read there.
Result<void> StepExecutor::place_shadows(const StepPlan& plan) {
  shadow_at_.assign(plan.sequences.size(), -1);
  std::int32_t next = shadows_.first;
  for (std::size_t i = 0; i < plan.sequences.size() && draft_group_ == nullptr; ++i) {
    const RoundPlan& round = plan.sequences[i].round;
    if (!round.shadows) continue;
    shadow_at_[i] = next;
    next += (1 + round.max_draft) * shadows_.each();
    if (shadows_.each() == 0 || next > shadows_.end())
      return monitoring::fail(Errc::configuration, "step plan: shadows of " + std::to_string(i + 1) +
                                                       " sequences, kept are " +
                                                       std::to_string(shadows_.rows) + " rows");
  }
  return {};
}

// In the order in which the verifier reads them.
std::vector<ShadowPoint> StepExecutor::shadow_points(const StepPlan& plan, const StepResult& result) const {
  std::vector<ShadowPoint> points;
  for (std::size_t i = 0; i < plan.sequences.size(); ++i) {
    if (shadow_at_[i] < 0) continue;
    const SequenceStep& step = plan.sequences[i];
    const std::span<const std::int32_t> inputs =
        step.round.max_draft > 0 ? std::span<const std::int32_t>(result.rounds[i].inputs) : step.tokens;
    for (std::size_t row = 0; row < inputs.size(); ++row)
      for (std::int32_t exit = 0; exit < shadows_.each(); ++exit)
        points.push_back({step.sequence, exit, inputs.first(row + 1)});
  }
  return points;
}

void StepExecutor::swap_pages_of(const Place& place, const StepPlan& plan) {
  const std::size_t page_bytes = place.units_per_page * static_cast<std::size_t>(place.pool->unit_bytes());
  units_.resize(place.units_per_page);
  for (const auto* swaps : {&plan.swap_out, &plan.swap_in}) {
    for (const PageSwap& swap : *swaps) {
      std::byte* host = place.host.get() + static_cast<std::size_t>(swap.host.value) * page_bytes;
      std::iota(units_.begin(), units_.end(), swap.page.value * place.units_per_page);
      if (swaps == &plan.swap_out)
        backend_.read_units(*place.pool, units_, host);
      else
        backend_.write_units(*place.pool, units_, host);
    }
  }
}

Result<void> StepExecutor::check_moves(const StepPlan& plan) const {
  for (const auto* swaps : {&plan.swap_out, &plan.swap_in})
    for (const PageSwap& swap : *swaps) {
      if (swap.page.value >= geometry_.pages) return bad_page("page", swap.page.value, geometry_.pages);
      if (swap.host.value >= geometry_.host_pages)
        return bad_page("host page", swap.host.value, geometry_.host_pages);
    }
  for (const PageCopy& copy : plan.copies)
    for (const PageId page : {copy.from, copy.to})
      if (page.value >= geometry_.pages) return bad_page("page", page.value, geometry_.pages);
  return {};
}

// Sealed pages are read before anything is written; restored ones are written before copies and rows read
// them.
Result<void> StepExecutor::move_pages(const StepPlan& plan) {
  if (!plan.blocks.empty() && mover_ == nullptr)
    return monitoring::fail(Errc::configuration, "step plan: blocks without a store");
  if (auto checked = check_moves(plan); !checked) return checked;
  if (auto quantised = quantise_pages(plan); !quantised) return quantised;
  if (mover_ != nullptr)
    if (auto begun = mover_->begin(plan.blocks); !begun) return begun;
  for (const Place& place : places_) swap_pages_of(place, plan);
  if (mover_ != nullptr) {
    if (auto restored = mover_->restore(plan.blocks); !restored) return restored;
    if (draft_group_ != nullptr)
      if (auto fetched = fetch_restored(plan.blocks); !fetched) return fetched;
  }
  for (const PageCopy& copy : plan.copies)
    for (const Place& place : places_)
      for (std::uint32_t unit = 0; unit < place.units_per_page; ++unit)
        backend_.copy_unit(*place.pool, copy.from.value * place.units_per_page + unit,
                           copy.to.value * place.units_per_page + unit);
  return {};
}

// The copy of a draft rank has what passed through the model; pages that came from the store it asks for.
Result<void> StepExecutor::fetch_restored(const BlockPlan& blocks) {
  std::vector<std::uint32_t> pages;
  for (const BlockRestore& restore : blocks.restores) pages.push_back(restore.page.value);
  return draft_group_->fetch_pages(pages, geometry_.units_per_page(), pool_);
}

Result<void> StepExecutor::compress(const StepPlan& plan, StepResult& result) {
  if (compressor_ == nullptr) {
    if (plan.compress.empty()) return {};
    return monitoring::fail(Errc::configuration,
                            "step plan: a compression, but this rank compresses nothing");
  }
  for (const SequenceId sequence : plan.forget) compressor_->forget(sequence);
  for (const CompressStep& step : plan.compress) {
    auto outcome = compressor_->compress(step);
    if (!outcome) return tl::unexpected(outcome.error());
    result.compressed.push_back(*outcome);
  }
  return {};
}

// What is kept of this step's rows for compressions to come; null if nothing.
AttentionTap* StepExecutor::tap_for(const StepPlan& plan) {
  if (compressor_ == nullptr) return nullptr;
  tap_requests_.clear();
  for (const SequenceStep& s : plan.sequences)
    if (s.round.max_draft == 0) tap_requests_.push_back({s.sequence, s.taps, s.tap_from, s.tap_end});
  return compressor_->taps().expect(tap_requests_) ? &compressor_->taps() : nullptr;
}

Result<void> StepExecutor::gather_tables(const StepPlan& plan) {
  tables_.clear();
  table_at_.clear();
  std::size_t table_entries = 0;
  for (const SequenceStep& sequence : plan.sequences) table_entries += sequence.table.size();
  tables_.reserve(table_entries);  // KvTable keeps pointers into it
  for (const SequenceStep& sequence : plan.sequences) {
    table_at_.push_back(tables_.size());
    for (PageId page : sequence.table) {
      if (page.value >= geometry_.pages) return bad_page("page", page.value, geometry_.pages);
      tables_.push_back(page.value);
    }
    const std::size_t slots = sequence.kv_before + sequence.tokens.size() + sequence.round.max_draft;
    if (sequence.table.size() * kPageTokens < slots)
      return bad_page("table length", static_cast<std::uint32_t>(sequence.table.size()), geometry_.pages);
    if (sequence.round.exit >= geometry_.layers)
      return bad_page("round.exit", sequence.round.exit, geometry_.layers);
  }
  return {};
}

KvTable StepExecutor::kv_of(const SequenceStep& step, std::size_t sequence) const {
  KvTable kv;
  kv.table = tables_.data() + table_at_[sequence];
  kv.scale = geometry_.units_per_page();
  kv.head_step = 1;
  if (compressor_ != nullptr && compressor_->lists().contains(step.sequence))
    kv.layers = compressor_->lists().tables(step.sequence, {kv.table, step.table.size()});
  return kv;
}

Result<void> StepExecutor::draft_rounds(const StepPlan& plan, DraftChooser* chooser, StepResult& result) {
  starts_.clear();
  for (std::size_t i = 0; i < plan.sequences.size(); ++i) {
    const SequenceStep& sequence = plan.sequences[i];
    if (sequence.round.max_draft == 0) continue;
    RoundStart start;
    start.sequence = sequence.sequence;
    start.last_token = sequence.tokens.front();
    start.position = static_cast<std::int32_t>(sequence.first_position);
    start.kv_before = static_cast<std::int32_t>(sequence.kv_before);
    start.kv = kv_of(sequence, i);
    start.exit = sequence.round.exit;
    start.max_draft = sequence.round.max_draft;
    start.climb = sequence.round.climb;
    start.shadow_slot = shadow_at_[i];
    starts_.push_back(start);
  }
  result.rounds.resize(plan.sequences.size());
  if (starts_.empty()) return {};
  auto drafted = draft_group_ != nullptr
                     ? draft_group_->draft(starts_, chooser, geometry_.local_kv_heads, pool_)
                     : drafter_.draft(starts_, chooser, pool_);
  if (!drafted) return tl::unexpected(drafted.error());
  std::size_t next = 0;
  for (std::size_t i = 0; i < plan.sequences.size(); ++i)
    if (plan.sequences[i].round.max_draft > 0) result.rounds[i] = std::move((*drafted)[next++]);
  return {};
}

void StepExecutor::add_rows(const StepPlan& plan, const StepResult& result) {
  verifier_.clear();
  std::size_t round = 0;
  for (std::size_t i = 0; i < plan.sequences.size(); ++i) {
    const SequenceStep& sequence = plan.sequences[i];
    if (sequence.round.max_draft > 0) {
      verifier_.add_round(starts_[round++], result.rounds[i]);
      continue;
    }
    SequenceRows rows;
    rows.rows = static_cast<std::int32_t>(sequence.tokens.size());
    rows.first_position = static_cast<std::int32_t>(sequence.first_position);
    rows.kv_before = static_cast<std::int32_t>(sequence.kv_before);
    rows.kv = kv_of(sequence, i);
    // What the plan says of it: one row with logits goes on a sequence, logits of all rows verify drafts.
    rows.decode = sequence.logits == LogitsWanted::all ||
                  (sequence.logits == LogitsWanted::last && sequence.tokens.size() == 1);
    const std::int32_t wanted = sequence.logits == LogitsWanted::none   ? 0
                                : sequence.logits == LogitsWanted::last ? std::min(1, rows.rows)
                                                                        : rows.rows;
    verifier_.add_plain(rows, sequence.tokens, wanted, shadow_at_[i]);
  }
}

// All ranks exchange what they have: a hit is as long as the shortest (trap T11).
Result<void> StepExecutor::settle_blocks(const BlockPlan& plan, StepResult& result) {
  if (mover_ == nullptr) return {};
  if (!plan.polls.empty()) {
    const std::vector<BlockPoll> mine = mover_->poll(plan.polls);
    std::vector<BlockPoll> all(mine.size() * static_cast<std::size_t>(ranks_->size()));
    auto gathered =
        ranks_->all_gather(std::as_bytes(std::span(mine)), std::as_writable_bytes(std::span(all)), nullptr);
    if (!gathered) return monitoring::fail(Errc::rank_lost, gathered.error().message);
    result.polled = mine;
    for (std::size_t i = 0; i < all.size(); ++i) {
      BlockPoll& least = result.polled[i % mine.size()];
      least.leading = std::min(least.leading, all[i].leading);
      least.finished = std::min(least.finished, all[i].finished);
    }
  }
  mover_->drop(plan.drops);
  return {};
}

Result<StepResult> StepExecutor::execute(const StepPlan& plan, DraftChooser* chooser) {
  StepResult result;
  const auto start = std::chrono::steady_clock::now();
  if (auto moved = move_pages(plan); !moved) return tl::unexpected(moved.error());
  if (auto settled = settle_blocks(plan.blocks, result); !settled) return tl::unexpected(settled.error());
  if (auto compressed = compress(plan, result); !compressed) return tl::unexpected(compressed.error());
  result.moves_us = us_since(start);
  if (auto gathered = gather_tables(plan); !gathered) return tl::unexpected(gathered.error());
  if (auto placed = place_shadows(plan); !placed) return tl::unexpected(placed.error());
  const auto draft_start = std::chrono::steady_clock::now();
  if (auto drafted = draft_rounds(plan, chooser, result); !drafted) return tl::unexpected(drafted.error());
  result.draft_us = us_since(draft_start);
  const auto forward_start = std::chrono::steady_clock::now();
  add_rows(plan, result);
  if (verifier_.empty()) return result;
  result.logits_on_device = !backend_.host_addressable();
  const std::vector<ShadowPoint> shadows = shadow_points(plan, result);
  const ExitReader read = [&](std::size_t first, ConstFloatMatrix exits) {
    chooser->see_shadows(std::span(shadows).subspan(first, static_cast<std::size_t>(exits.rows)), exits);
  };
  auto logits = verifier_.run(transformer_, pool_,
                              {geometry_.local_kv_heads, tap_for(plan), result.logits_on_device, &read});
  if (!logits) return tl::unexpected(logits.error());
  result.logits = *logits;
  result.first_row.assign(verifier_.first_logits().begin(), verifier_.first_logits().end());
  result.forward_us = us_since(forward_start);
  return result;
}

}  // namespace leadline::worker
