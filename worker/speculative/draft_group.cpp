#include "worker/speculative/draft_group.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <string>

#include "monitoring/check.h"
#include "transport/collective/identity_communicator.h"

namespace leadline::worker {
namespace {

tl::unexpected<Error> lost(const transport::Error& error) {
  return monitoring::fail(Errc::rank_lost, error.message);
}

}  // namespace

DraftGroup::DraftGroup(DraftGroupOptions options, Backend& backend, transport::Communicator& ranks,
                       Transformer& whole)
    : options_(std::move(options)),
      deepest_(static_cast<std::uint32_t>(options_.exits.back())),
      heads_(static_cast<std::uint32_t>(options_.model.kv_heads)),
      backend_(backend),
      ranks_(ranks),
      whole_(whole) {}

Result<std::unique_ptr<DraftGroup>> DraftGroup::create(DraftGroupOptions options, Backend& backend,
                                                       transport::Communicator& ranks, Transformer& whole) {
  LEADLINE_CHECK(!options.exits.empty(), "draft ranks without an exit");
  std::unique_ptr<DraftGroup> group(new DraftGroup(std::move(options), backend, ranks, whole));
  const ModelConfig& model = group->options_.model;
  const std::int64_t rows = group->options_.max_sequences + group->options_.max_draft_rows;
  const std::int64_t floats =
      rows * (model.hidden + std::int64_t{group->deepest_} * 2 * model.kv_heads * model.head_dim);
  auto handed = backend.allocate(floats * std::int64_t{sizeof(float)}, "hand-over of drafts");
  if (!handed) return tl::unexpected(handed.error());
  group->handed_ = std::move(*handed);
  if (ranks.rank() != 0)
    whole.mirror_kv(nullptr, nullptr);
  else if (auto loaded = group->load_copy(); !loaded)
    return tl::unexpected(loaded.error());
  return group;
}

Result<void> DraftGroup::load_copy() {
  TransformerOptions load = options_.load;
  load.first_layers = static_cast<std::int32_t>(deepest_);
  load.max_logit_rows = std::min(load.max_rows, options_.max_sequences);
  load.max_kept_rows = kept_rows_for(options_.max_sequences, options_.max_draft_rows,
                                     static_cast<std::int32_t>(options_.exits.size()));
  load.progress = nullptr;
  alone_ = std::make_unique<transport::IdentityCommunicator>();
  auto shallow = Transformer::load(options_.model, load, backend_, *alone_);
  if (!shallow) return tl::unexpected(shallow.error());
  shallow_ = std::move(*shallow);
  auto pool = backend_.allocate_kv(
      {options_.pages * units_per_page(), options_.model.head_dim, options_.kv_dtype, units_per_page()});
  if (!pool) return tl::unexpected(pool.error());
  pool_ = std::move(*pool);
  whole_.mirror_kv(shallow_.get(), pool_.get());
  drafter_ = std::make_unique<Drafter>(*shallow_, *alone_,
                                       DrafterLimits{options_.model.vocab, options_.model.layers, heads_});
  return {};
}

Result<std::vector<DraftedRound>> DraftGroup::draft_alone(std::span<const RoundStart> starts,
                                                          DraftChooser* chooser) {
  std::vector<RoundStart> here(starts.begin(), starts.end());
  for (RoundStart& start : here) {
    start.kv.scale = units_per_page();
    start.kv.base = 0;
    start.kv.head_step = 1;
  }
  return drafter_->draft(here, chooser, *pool_);
}

// What was drafted, to all: per round the exit, the number of inputs and the drafts, at fixed places.
Result<std::vector<DraftedRound>> DraftGroup::agree(std::span<const RoundStart> starts,
                                                    std::vector<DraftedRound> rounds) {
  std::vector<std::int32_t> words;
  for (std::size_t i = 0; i < starts.size(); ++i) {
    const std::size_t at = words.size();
    words.resize(at + 2 + static_cast<std::size_t>(starts[i].max_draft), 0);
    if (ranks_.rank() != 0) continue;
    words[at] = rounds[i].exit;
    words[at + 1] = static_cast<std::int32_t>(rounds[i].inputs.size());
    std::copy(rounds[i].inputs.begin() + 1, rounds[i].inputs.end(),
              words.begin() + static_cast<std::ptrdiff_t>(at) + 2);
  }
  if (auto told = ranks_.broadcast(std::as_writable_bytes(std::span(words)), 0, nullptr); !told)
    return lost(told.error());
  if (ranks_.rank() == 0) return rounds;
  rounds.resize(starts.size());
  const std::int32_t* word = words.data();
  for (std::size_t i = 0; i < starts.size(); ++i) {
    const std::int32_t exit = word[0], inputs = word[1];
    bool wrong = exit < 1 || exit > static_cast<std::int32_t>(deepest_) || inputs < 1 ||
                 inputs > 1 + starts[i].max_draft;
    rounds[i].exit = exit;
    rounds[i].inputs = {starts[i].last_token};
    for (std::int32_t j = 0; !wrong && j + 1 < inputs; ++j) {
      wrong = word[2 + j] < 0 || word[2 + j] >= options_.model.vocab;
      rounds[i].inputs.push_back(word[2 + j]);
    }
    if (wrong)
      return monitoring::fail(Errc::malformed_file, "drafted round " + std::to_string(i) + " of exit " +
                                                        std::to_string(exit) + " and " +
                                                        std::to_string(inputs) + " inputs");
    word += 2 + starts[i].max_draft;
  }
  return rounds;
}

Result<void> DraftGroup::hand_over(std::span<const RoundStart> starts, std::vector<DraftedRound>& rounds,
                                   std::uint32_t layer_unit_step, KvPool& pool) {
  std::vector<std::size_t> order(rounds.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return rounds[a].exit > rounds[b].exit; });
  std::vector<SequenceRows> sequences;
  std::vector<std::int32_t> exits, slots;
  std::int32_t row = 0;
  for (const std::size_t i : order) {
    SequenceRows rows;
    rows.first_row = row;
    rows.rows = static_cast<std::int32_t>(rounds[i].inputs.size());
    rows.first_position = starts[i].position;
    rows.kv_before = starts[i].kv_before;
    rows.kv = starts[i].kv;
    rows.decode = true;
    sequences.push_back(rows);
    exits.push_back(rounds[i].exit);
    slots.insert(slots.end(), rounds[i].kept_slots.begin(), rounds[i].kept_slots.end());
    rounds[i].kept_slots.resize(rounds[i].inputs.size());
    std::iota(rounds[i].kept_slots.begin(), rounds[i].kept_slots.end(), row);  // where take_drafted puts them
    row += rows.rows;
  }
  const std::int64_t hidden = options_.model.hidden;
  const std::int64_t kv = std::int64_t{exits.front()} * 2 * options_.model.kv_heads * options_.model.head_dim;
  auto* data = static_cast<float*>(handed_->data());
  const FloatMatrix states(data, row, hidden), heads(data + row * hidden, row, kv);
  if (shallow_) shallow_->give_drafted(slots, states, heads);
  const std::span<float> all(data, static_cast<std::size_t>(row * (hidden + kv)));
  if (auto sent = ranks_.broadcast(std::as_writable_bytes(all), 0, backend_.stream()); !sent)
    return lost(sent.error());
  whole_.take_drafted({sequences, exits, layer_unit_step, states, heads}, pool);
  return {};
}

Result<void> DraftGroup::fetch_pages(std::span<const std::uint32_t> pages, std::uint32_t units_per_page,
                                     KvPool& pool) {
  constexpr std::size_t kPagesAtOnce = 64;
  const auto unit_bytes = static_cast<std::size_t>(pool.unit_bytes());
  const auto own = static_cast<std::uint32_t>(whole_.local_kv_heads()),
             size = static_cast<std::uint32_t>(ranks_.size());
  const std::size_t part = std::size_t{deepest_} * own * unit_bytes;  // of one page on one rank
  std::vector<std::uint32_t> units;
  for (; !pages.empty(); pages = pages.subspan(std::min(pages.size(), kPagesAtOnce))) {
    const std::span<const std::uint32_t> now = pages.first(std::min(pages.size(), kPagesAtOnce));
    units.clear();
    for (const std::uint32_t page : now)  // a page's units are layer by layer: the first layers come first
      for (std::uint32_t unit = 0; unit < deepest_ * own; ++unit)
        units.push_back(page * units_per_page + unit);
    sent_.resize(now.size() * part);
    backend_.read_units(pool, units, sent_.data());
    received_.resize(shallow_ ? sent_.size() * size : 0);
    if (auto gathered = ranks_.gather(sent_, received_, 0, nullptr); !gathered) return lost(gathered.error());
    if (!shallow_) continue;
    for (std::uint32_t rank = 0; rank < size; ++rank) {
      const std::uint32_t first = rank * heads_ / size;  // as ShardPlan cuts them, replicas included
      units.clear();
      for (const std::uint32_t page : now)
        for (std::uint32_t unit = 0; unit < deepest_ * own; ++unit)
          units.push_back(page * this->units_per_page() + unit / own * heads_ + first + unit % own);
      backend_.write_units(*pool_, units, received_.data() + rank * sent_.size());
    }
  }
  return {};
}

Result<std::vector<DraftedRound>> DraftGroup::draft(std::span<const RoundStart> starts, DraftChooser* chooser,
                                                    std::uint32_t layer_unit_step, KvPool& pool) {
  std::vector<DraftedRound> rounds;
  if (shallow_) {
    auto drafted = draft_alone(starts, chooser);
    if (!drafted) return drafted;
    rounds = std::move(*drafted);
  }
  auto agreed = agree(starts, std::move(rounds));
  if (!agreed) return agreed;
  if (auto handed = hand_over(starts, *agreed, layer_unit_step, pool); !handed)
    return tl::unexpected(handed.error());
  return agreed;
}

}  // namespace leadline::worker
