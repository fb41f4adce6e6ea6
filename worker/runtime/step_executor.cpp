#include "worker/runtime/step_executor.h"

#include <chrono>
#include <numeric>
#include <string>

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

StepExecutor::StepExecutor(Backend& backend, Transformer& transformer, KvPool& pool, PageGeometry geometry)
    : backend_(backend), transformer_(transformer), pool_(pool), geometry_(geometry) {
  const std::size_t page_bytes = geometry.units_per_page() * static_cast<std::size_t>(pool.unit_bytes());
  host_ = std::make_unique_for_overwrite<std::byte[]>(geometry.host_pages * page_bytes);
}

Result<void> StepExecutor::move_pages(const StepPlan& plan) {
  const std::uint32_t units = geometry_.units_per_page();
  const std::size_t unit_bytes = static_cast<std::size_t>(pool_.unit_bytes());
  const auto host_page = [&](HostPageId host) {
    return host_.get() + static_cast<std::size_t>(host.value) * units * unit_bytes;
  };
  for (const auto* swaps : {&plan.swap_out, &plan.swap_in}) {
    for (const PageSwap& swap : *swaps) {
      if (swap.page.value >= geometry_.pages) return bad_page("page", swap.page.value, geometry_.pages);
      if (swap.host.value >= geometry_.host_pages)
        return bad_page("host page", swap.host.value, geometry_.host_pages);
      units_.resize(units);
      std::iota(units_.begin(), units_.end(), swap.page.value * units);
      if (swaps == &plan.swap_out)
        backend_.read_units(pool_, units_, host_page(swap.host));
      else
        backend_.write_units(pool_, units_, host_page(swap.host));
    }
  }
  for (const PageCopy& copy : plan.copies) {
    if (copy.from.value >= geometry_.pages) return bad_page("page", copy.from.value, geometry_.pages);
    if (copy.to.value >= geometry_.pages) return bad_page("page", copy.to.value, geometry_.pages);
    for (std::uint32_t unit = 0; unit < units; ++unit)
      backend_.copy_unit(pool_, copy.from.value * units + unit, copy.to.value * units + unit);
  }
  return {};
}

Result<void> StepExecutor::lay_out_rows(const StepPlan& plan, StepResult& result) {
  tokens_.clear();
  rows_.clear();
  logit_rows_.clear();
  tables_.clear();
  std::size_t table_entries = 0;
  for (const SequenceStep& sequence : plan.sequences) table_entries += sequence.table.size();
  tables_.reserve(table_entries);  // KvTable keeps pointers into it
  for (const SequenceStep& sequence : plan.sequences) {
    const std::size_t table_at = tables_.size();
    for (PageId page : sequence.table) {
      if (page.value >= geometry_.pages) return bad_page("page", page.value, geometry_.pages);
      tables_.push_back(page.value);
    }
    if (sequence.table.size() * kPageTokens < sequence.kv_before + sequence.tokens.size())
      return bad_page("table length", static_cast<std::uint32_t>(sequence.table.size()), geometry_.pages);
    SequenceRows rows;
    rows.first_row = static_cast<std::int32_t>(tokens_.size());
    rows.rows = static_cast<std::int32_t>(sequence.tokens.size());
    rows.first_position = static_cast<std::int32_t>(sequence.first_position);
    rows.kv_before = static_cast<std::int32_t>(sequence.kv_before);
    rows.kv.table = tables_.data() + table_at;
    rows.kv.scale = geometry_.units_per_page();
    rows.kv.head_step = 1;
    // What the plan says of it: one row with logits goes on a sequence, logits of all rows verify drafts.
    rows.decode = sequence.logits == LogitsWanted::all ||
                  (sequence.logits == LogitsWanted::last && sequence.tokens.size() == 1);
    rows_.push_back(rows);
    tokens_.insert(tokens_.end(), sequence.tokens.begin(), sequence.tokens.end());
    const std::int32_t end = static_cast<std::int32_t>(tokens_.size());
    const std::int32_t wanted = sequence.logits == LogitsWanted::none   ? 0
                                : sequence.logits == LogitsWanted::last ? std::min(1, rows.rows)
                                                                        : rows.rows;
    result.first_row.push_back(wanted == 0 ? -1 : static_cast<std::int32_t>(logit_rows_.size()));
    for (std::int32_t row = end - wanted; row < end; ++row) logit_rows_.push_back(row);
  }
  return {};
}

Result<StepResult> StepExecutor::execute(const StepPlan& plan) {
  StepResult result;
  const auto start = std::chrono::steady_clock::now();
  if (auto moved = move_pages(plan); !moved) return tl::unexpected(moved.error());
  result.moves_us = us_since(start);
  if (auto laid = lay_out_rows(plan, result); !laid) return tl::unexpected(laid.error());
  if (tokens_.empty()) return result;
  const auto forward_start = std::chrono::steady_clock::now();
  const StepBatch batch{tokens_, rows_, geometry_.local_kv_heads, logit_rows_};
  auto logits = transformer_.forward(batch, pool_);
  if (!logits) return tl::unexpected(logits.error());
  result.logits = *logits;
  result.forward_us = us_since(forward_start);
  return result;
}

}  // namespace leadline::worker
