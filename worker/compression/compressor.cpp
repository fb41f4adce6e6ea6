#include "worker/compression/compressor.h"

#include <algorithm>
#include <chrono>
#include <string>

#include "monitoring/fnv1a.h"

namespace leadline::worker {
namespace {

std::uint64_t digest_of(const SlotGroups& groups) {
  monitoring::Fnv1a digest;
  for (const auto* list : {&groups.begin, &groups.members})
    for (const std::uint32_t x : *list) digest.add(x);
  return digest.value();
}

}  // namespace

// What one step is made of.
struct Compressor::Job {
  const CompressStep& step;
  const CompressionMethod& method;
  bool needs_keys = false;
  LayerInputs own;                                  // of the layer at hand, unless inputs are kept
  LayerInputs* in = nullptr;                        // own, or what is kept of the layer
  std::vector<std::vector<float>> window, columns;  // per local KV head, (slots)
  std::vector<float> shared;                        // scores of all heads' mean
  SlotGroups group_choice;                          // of the layer group at hand
  std::uint32_t units_used = 0;
  std::uint64_t slots = 0;
  std::vector<std::uint64_t> digests;  // (layers, local KV heads)
};

Compressor::Compressor(const CompressorShape& shape, PageSlots pages, transport::Communicator& ranks)
    : shape_(shape),
      first_head_(static_cast<std::uint32_t>(ranks.rank()) * shape.kv_heads /
                  static_cast<std::uint32_t>(ranks.size())),
      pages_(pages),
      ranks_(ranks),
      taps_({.layers = shape.layers,
             .query_heads = shape.query_heads / static_cast<std::uint32_t>(ranks.size()),
             .kv_heads = shape.local_kv_heads,
             .head_dim = pages.head_dim()},
            pages),
      lists_(shape.layers, shape.local_kv_heads) {}

Result<std::unique_ptr<Compressor>> Compressor::make(const CompressorShape& shape, KvPool& pool,
                                                     transport::Communicator& ranks) {
  for (const CompressionMethod& method : compression_methods())
    if (const std::string wrong = check(method); !wrong.empty())
      return monitoring::fail(Errc::configuration, "compression method " + wrong);
  auto pages = PageSlots::of(pool);
  if (!pages) return tl::unexpected(pages.error());
  return std::unique_ptr<Compressor>(new Compressor(shape, *pages, ranks));
}

void Compressor::forget(SequenceId sequence) {
  taps_.drop(sequence);
  lists_.drop(sequence);
  for (LayerInputs& inputs : kept_inputs_) inputs = {};
}

template <typename T>
Result<std::vector<T>> Compressor::gather_all(std::span<const T> mine) {
  std::vector<T> all(mine.size() * static_cast<std::size_t>(ranks_.size()));
  if (ranks_.size() == 1) {
    std::copy(mine.begin(), mine.end(), all.begin());
    return all;
  }
  auto gathered = ranks_.all_gather(std::as_bytes(mine), std::as_writable_bytes(std::span(all)), nullptr);
  if (!gathered) return monitoring::fail(Errc::rank_lost, gathered.error().message);
  return all;
}

Result<CompressOutcome> Compressor::compress(const CompressStep& step) {
  const auto start = std::chrono::steady_clock::now();
  if (step.params.method >= compression_methods().size())
    return monitoring::fail(Errc::configuration,
                            "step plan: compression method " + std::to_string(step.params.method));
  for (const auto* pages : {&step.from, &step.to})
    for (const PageId page : *pages)
      if (page.value >= shape_.pages)
        return monitoring::fail(Errc::configuration, "step plan: page " + std::to_string(page.value) +
                                                         " of " + std::to_string(shape_.pages));
  Job job{.step = step, .method = compression_methods()[step.params.method]};
  job.needs_keys = (job.method.traits.taps & (kTapKeys | kTapWindow)) != 0 || job.method.traits.merges;
  for (std::uint32_t layer = 0; layer < shape_.layers; ++layer)
    if (auto done = run_layer(job, layer); !done) return tl::unexpected(done.error());
  if (kept_inputs_.empty()) taps_.drop(step.sequence);
  auto outcome = agree(job);
  if (!outcome) return outcome;
  outcome->us = static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - start)
          .count());
  return outcome;
}

// K and V of the prompt's slots as floats, as far as the method needs them.
void Compressor::read_slots(Job& job, std::uint32_t layer) {
  if (kept_inputs_.empty()) {
    job.own.has_keys = job.own.has_values = false;
    job.own.window.clear();
    job.in = &job.own;
  } else {
    job.in = &kept_inputs_[layer];
  }
  const CompressStep& step = job.step;
  const auto pages = static_cast<std::uint32_t>(step.from.size());
  const std::size_t page_floats = std::size_t{kPageTokens} * pages_.head_dim();
  const bool keys = job.needs_keys && !job.in->has_keys;
  const bool values = job.method.traits.merges && !job.in->has_values;
  job.in->keys.resize(shape_.local_kv_heads);
  job.in->values.resize(shape_.local_kv_heads);
  for (std::uint32_t head = 0; (keys || values) && head < shape_.local_kv_heads; ++head) {
    if (keys) job.in->keys[head].resize(pages * page_floats);
    if (values) job.in->values[head].resize(pages * page_floats);
    for (std::uint32_t p = 0; p < pages; ++p) {
      const std::uint32_t filled = std::min(kPageTokens, step.tokens - p * kPageTokens);
      const std::uint32_t unit = unit_of(step.from[p], layer, head);
      if (keys) pages_.read_keys(unit, filled, job.in->keys[head].data() + p * page_floats);
      if (values) pages_.read_values(unit, filled, job.in->values[head].data() + p * page_floats);
    }
  }
  job.in->has_keys |= keys;
  job.in->has_values |= values;
}

Result<void> Compressor::run_layer(Job& job, std::uint32_t layer) {
  const CompressStep& step = job.step;
  read_slots(job, layer);
  const bool chooses = first_of_group(job.method, layer, shape_.layers) == layer;
  if (chooses) {
    if (auto read = read_attention(job, layer); !read) return read;
    if (job.method.traits.heads_shared)
      if (auto shared = share_scores(job, layer); !shared) return shared;
  }
  for (std::uint32_t head = 0; head < shape_.local_kv_heads; ++head) {
    const bool reuse =
        job.method.traits.heads_shared && job.method.traits.layers_grouped && (!chooses || head > 0);
    if (!reuse) job.group_choice = decide(job.method, step.params, input_of(job, layer, head), job.shared);
    write_head(job, layer, head, job.group_choice);
  }
  return {};
}

// The taps' sums per KV head: the mean over its query group, heads added in order wherever they lie.
Result<void> Compressor::read_attention(Job& job, std::uint32_t layer) {
  const std::uint8_t taps = job.method.traits.taps & (kTapWindow | kTapColumns);
  if (taps == 0 || keeps_everything(job.method, job.step.params, job.step.tokens)) return {};
  const std::uint32_t slots = job.step.tokens, group = shape_.query_heads / shape_.kv_heads;
  std::vector<float> sums;
  if ((taps & kTapWindow) != 0) {
    const std::uint32_t rows = window_rows(job.method, job.step.params, slots);
    std::vector<float>& kept = job.in->window[rows];
    if (kept.empty()) kept = taps_.window_sums(job.step.sequence, layer, rows, job.in->keys);
    sums = kept;
  } else {
    const std::span<const float> columns = taps_.column_sums(job.step.sequence, layer);
    sums.assign(columns.begin(), columns.end());
  }
  std::uint32_t first = 0;  // of the first local KV head's group within sums
  if (copies() > 1) {       // a group's heads lie on several ranks
    auto all = gather_all<float>(sums);
    if (!all) return tl::unexpected(all.error());
    sums = std::move(*all);
    first = first_head_ * group;
  }
  auto& out = (taps & kTapWindow) != 0 ? job.window : job.columns;
  out.assign(shape_.local_kv_heads, std::vector<float>(slots));
  for (std::uint32_t head = 0; head < shape_.local_kv_heads; ++head) {
    for (std::uint32_t g = 0; g < group; ++g) {
      const float* from = sums.data() + std::size_t{first + head * group + g} * slots;
      for (std::uint32_t j = 0; j < slots; ++j) out[head][j] += from[j];
    }
    for (float& x : out[head]) x /= static_cast<float>(group);
  }
  return {};
}

Result<void> Compressor::share_scores(Job& job, std::uint32_t layer) {
  const std::uint32_t slots = job.step.tokens;
  std::vector<float> mine(std::size_t{shape_.local_kv_heads} * slots);
  for (std::uint32_t head = 0; head < shape_.local_kv_heads; ++head)
    job.method.score(input_of(job, layer, head), job.step.params,
                     std::span(mine).subspan(std::size_t{head} * slots, slots));
  auto all = gather_all<float>(mine);
  if (!all) return tl::unexpected(all.error());
  job.shared.assign(slots, 0.0F);
  const std::uint32_t held = shape_.local_kv_heads * static_cast<std::uint32_t>(ranks_.size());
  for (std::uint32_t head = 0; head < held; head += copies())  // copies of a head stand together
    for (std::uint32_t j = 0; j < slots; ++j) job.shared[j] += (*all)[std::size_t{head} * slots + j];
  for (float& x : job.shared) x /= static_cast<float>(shape_.kv_heads);
  return {};
}

HeadInput Compressor::input_of(const Job& job, std::uint32_t layer, std::uint32_t head) const {
  HeadInput input;
  input.layer = layer;
  input.layers = shape_.layers;
  input.head = first_head_ + head;
  input.slots = job.step.tokens;
  input.head_dim = pages_.head_dim();
  input.seed = job.step.seed;
  if (job.needs_keys) input.keys = job.in->keys[head];
  if (!job.window.empty()) input.window = job.window[head];
  if (!job.columns.empty()) input.columns = job.columns[head];
  input.delimiters = job.step.delimiters;
  return input;
}

void Compressor::write_head(Job& job, std::uint32_t layer, std::uint32_t head, const SlotGroups& groups) {
  const CompressStep& step = job.step;
  const std::uint32_t dim = pages_.head_dim(), per_page = shape_.layers * shape_.local_kv_heads;
  CompressedHead& list = lists_.head(step.sequence, layer, head);
  std::vector<float> keys, values, bias;
  if (groups.merges()) {
    keys.resize(std::size_t{groups.size()} * dim);
    values.resize(keys.size());
    bias.resize(groups.size());
    job.method.merge(groups, {job.in->keys[head], job.in->values[head], dim}, {keys, values, bias});
  }
  const std::size_t first_slot = list.units.size() * kPageTokens;
  for (std::uint32_t g = 0; g < groups.size(); ++g) {
    const std::uint32_t slot = g % kPageTokens;
    if (slot == 0) {
      const std::uint32_t page = job.units_used / per_page;
      list.units.push_back(step.to[page].value * per_page + job.units_used % per_page);
      list.valid.push_back(0);
      ++job.units_used;
    }
    ++list.valid.back();
    const std::span<const std::uint32_t> members = groups.group(g);
    if (members.size() == 1)
      pages_.copy_slot(unit_of(step.from[members[0] / kPageTokens], layer, head), members[0] % kPageTokens,
                       list.units.back(), slot);
    else
      pages_.write_slot(list.units.back(), slot, keys.data() + std::size_t{g} * dim,
                        values.data() + std::size_t{g} * dim);
  }
  if (groups.merges() || !list.bias.empty()) {
    list.bias.resize(first_slot);
    list.bias.insert(list.bias.end(), bias.begin(), bias.end());
    list.bias.resize(list.units.size() * kPageTokens);
  }
  job.slots += groups.size();
  job.digests.push_back(digest_of(groups));
}

// Pages on the neediest rank, slots and digest over all heads in their order: the same answer on every rank.
Result<CompressOutcome> Compressor::agree(const Job& job) {
  const std::uint32_t per_page = shape_.layers * shape_.local_kv_heads;
  std::vector<std::uint64_t> mine = {(job.units_used + per_page - 1) / per_page, job.slots};
  mine.insert(mine.end(), job.digests.begin(), job.digests.end());
  auto all = gather_all<std::uint64_t>(mine);
  if (!all) return tl::unexpected(all.error());
  CompressOutcome outcome;
  outcome.sequence = job.step.sequence;
  outcome.tokens = job.step.tokens;
  outcome.lists = shape_.layers * shape_.kv_heads;
  for (int rank = 0; rank < ranks_.size(); ++rank) {
    const std::uint64_t* theirs = all->data() + static_cast<std::size_t>(rank) * mine.size();
    outcome.pages = std::max(outcome.pages, static_cast<std::uint32_t>(theirs[0]));
    outcome.slots += theirs[1];
  }
  outcome.slots /= copies();
  monitoring::Fnv1a digests;
  for (std::uint32_t layer = 0; layer < shape_.layers; ++layer)
    for (std::uint32_t head = 0; head < shape_.kv_heads; ++head) {
      const std::size_t place = std::size_t{head} * copies();  // among all heads that ranks hold
      const std::size_t rank = place / shape_.local_kv_heads, local = place % shape_.local_kv_heads;
      digests.add((*all)[rank * mine.size() + 2 + std::size_t{layer} * shape_.local_kv_heads + local]);
    }
  outcome.digest = digests.value();
  return outcome;
}

}  // namespace leadline::worker
