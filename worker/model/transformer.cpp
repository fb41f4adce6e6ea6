#include "worker/model/transformer.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>
#include <vector>

#include "monitoring/check.h"
#include "worker/backend/step_bucket.h"
#include "worker/model/activations.h"
#include "worker/model/batch_checks.h"
#include "worker/model/fingerprint.h"
#include "worker/model/packed_load.h"
#include "worker/model/rope_angles.h"
#include "worker/model/shard_plan.h"
#include "worker/model/weight_file.h"
#include "worker/model/weights.h"

// The decoder of Llama (Touvron et al. 2023) and its relatives: Mistral's window, Qwen2's biases, Qwen3's
// head norms. Per layer: x += o(attention(norm(x))); x += down(silu(gate(norm(x))) * up(norm(x))). Ranks own
// heads and FFN channels; what they add to x is summed from all-gathered partials in one tree (exactness X2).

namespace leadline::worker {
namespace {

class RankTransformer final : public Transformer {
 public:
  RankTransformer(ModelConfig config, ShardPlan plan, Backend& backend, transport::Communicator& ranks)
      : config_(std::move(config)), plan_(plan), backend_(backend), ranks_(ranks) {}

  Result<void> load(const TransformerOptions& options);

  Result<ConstFloatMatrix> forward(const StepBatch& batch, KvPool& pool) override;
  void mirror_kv(Transformer* shallow, KvPool* pool) override {
    mirrored_ = true;
    mirror_ = shallow;
    mirror_pool_ = pool;
  }
  void write_kv(std::int32_t layer, ConstFloatMatrix normed, std::span<const SequenceRows> sequences,
                KvPool& pool) override;
  void give_drafted(std::span<const std::int32_t> slots, FloatMatrix hidden, FloatMatrix kv) override;
  void take_drafted(const DraftedRows& rows, KvPool& pool) override;
  [[nodiscard]] std::int32_t layers() const override { return config_.layers; }
  [[nodiscard]] std::int32_t vocab() const override { return config_.vocab; }
  [[nodiscard]] std::int32_t local_kv_heads() const override {
    return static_cast<std::int32_t>(plan_.kv_heads.count);
  }
  [[nodiscard]] std::int64_t weight_bytes() const override { return weights_.bytes; }
  [[nodiscard]] std::int64_t weight_bytes_to_come() const override {
    return packed_mover_ ? packed_mover_->left() : 0;
  }
  [[nodiscard]] std::string identity() const override { return fingerprints_.identity; }
  [[nodiscard]] std::string fingerprint() const override { return fingerprints_.full; }

 private:
  // The parts that a pass is made of.
  void begin(const StepBatch& batch);
  StepBatch padded(const StepBatch& batch);
  [[nodiscard]] bool recordable(const StepBatch& batch) const;
  static bool same_layers(const StepBatch& batch);
  Result<void> run_layers(const StepBatch& batch, KvPool& pool);
  void set_table(const StepBatch& batch, std::size_t i, std::int32_t layer);
  Result<void> run_layer(std::int32_t layer, std::size_t active, const StepBatch& batch, KvPool& pool);
  void enter_rows(const StepBatch& batch);
  void keep_kv(std::int32_t layer, const FloatMatrix& qkv);
  [[nodiscard]] std::int64_t kv_width() const { return 2 * plan_.kv_heads.count * config_.head_dim; }
  [[nodiscard]] FloatMatrix kept_kv(std::int64_t first, std::int64_t rows) const {
    const std::int64_t columns = config_.layers * kv_width();
    return {static_cast<float*>(kept_kv_->data()) + first * columns, rows, columns};
  }
  Result<void> run_pass(const StepBatch& batch, KvPool& pool);
  [[nodiscard]] std::uint64_t tag_of(const StepBatch& batch, const KvPool& pool) const;
  Result<void> logits_of(ConstFloatMatrix hidden, std::span<const std::int32_t> rows);
  [[nodiscard]] ConstFloatMatrix where_logits_are(const StepBatch& batch) const;

  Result<void> attention(std::int32_t layer, std::span<const SequenceRows> active, std::int64_t rows,
                         KvPool& pool, AttentionTap* tap);
  void write_heads(std::int32_t layer, FloatMatrix rows, std::span<const SequenceRows> sequences,
                   KvPool& pool);
  Result<void> feed_forward(std::int32_t layer, std::int64_t rows);
  Result<void> add_to_residual(std::int64_t rows, std::span<const float> bias);
  Result<void> load_weights(const WeightFile& file, DType format, const TransformerOptions& options);
  Result<void> put_weights(Result<Weights> made);
  void tap_exits(const StepBatch& batch, std::int32_t layer, std::int64_t rows);
  Result<void> read_exits(const StepBatch& batch);

  // Constant after load.
  const ModelConfig config_;
  const ShardPlan plan_;
  std::unique_ptr<WeightFile> file_;  // the embedding table is read from it; null with a source
  Weights weights_;
  std::unique_ptr<PackedWriter> packed_writer_;  // reads weights_; null: nothing to write
  std::unique_ptr<PackedMover> packed_mover_;    // null: nothing to move
  ModelFingerprints fingerprints_;
  std::int32_t max_rows_ = 0, max_logit_rows_ = 0, max_kept_rows_ = 0;
  Backend& backend_;
  transport::Communicator& ranks_;

  // Set once, before the first step: where K and V of all heads go besides; null: nowhere.
  bool mirrored_ = false;  // by this rank or another
  Transformer* mirror_ = nullptr;
  KvPool* mirror_pool_ = nullptr;

  // Scratch of one step, owned by the step thread.
  RopeAngles rope_;                  // grows with the positions that steps reach
  std::unique_ptr<Buffer> kept_kv_;  // (max_kept_rows, layers, 2 Hkv d); null unless first_layers
  Activations activations_;
  std::vector<SequenceRows> sequences_;      // with the KV table of the layer at hand
  std::vector<std::uint32_t> head_lengths_;  // (sequences, KV heads), of those whose heads differ
  std::vector<std::int32_t> padded_tokens_, padded_logit_rows_, padded_kept_in_;
  std::vector<std::int32_t> kept_out_;  // kept slot of every row of the pass at hand
  std::vector<std::int32_t> tapped_;    // the same, at one layer
  std::vector<std::int32_t> iota_;      // 0, 1, 2, ... max_rows
  std::vector<float> host_logits_;      // where the device's memory is not the host's
};

Result<void> lost(const transport::Result<void>& result) {
  if (result) return {};
  return monitoring::fail(Errc::rank_lost, result.error().message);
}

Result<void> RankTransformer::load(const TransformerOptions& options) {
  if (options.source == nullptr) {
    auto opened = WeightFile::open(options.model_directory);
    if (!opened) return tl::unexpected(opened.error());
    file_ = std::move(*opened);
  }
  const WeightFile& file = options.source != nullptr ? *options.source : *file_;
  const auto format = weight_format(options.weights, config_, file);
  if (!format) return tl::unexpected(format.error());
  if (auto loaded = load_weights(file, *format, options); !loaded) return loaded;
  if (auto made = rope_.allocate(config_, options.max_positions, backend_); !made) return made;

  max_rows_ = options.max_rows;
  max_logit_rows_ = options.max_logit_rows;
  max_kept_rows_ = options.max_kept_rows;
  auto activations =
      Activations::allocate(config_, plan_, {max_rows_, max_logit_rows_, max_kept_rows_}, backend_);
  if (!activations) return tl::unexpected(activations.error());
  activations_ = std::move(*activations);
  iota_.resize(static_cast<std::size_t>(max_rows_));
  std::iota(iota_.begin(), iota_.end(), 0);
  sequences_.reserve(static_cast<std::size_t>(max_rows_));

  if (options.first_layers > 0) {
    auto kept = backend_.allocate(
        std::int64_t{max_kept_rows_ + 1} * config_.layers * kv_width() * std::int64_t{sizeof(float)},
        "keys and values of drafts");
    if (!kept) return tl::unexpected(kept.error());
    kept_kv_ = std::move(*kept);
  }
  return {};
}

Result<void> RankTransformer::put_weights(Result<Weights> made) {
  if (!made) return tl::unexpected(made.error());
  weights_ = std::move(*made);
  return {};
}

Result<void> RankTransformer::load_weights(const WeightFile& file, DType format,
                                           const TransformerOptions& options) {
  if (options.first_layers > 0) {  // a second copy of what another transformer of this process has
    return put_weights(Weights::load(file, config_, plan_, {format, options.progress, nullptr}, backend_));
  }
  PackedLoad packed(file, config_, plan_, format, backend_, options);
  auto digests = checkpoint_digests(file, packed.known_digests(), ranks_);
  if (!digests) return tl::unexpected(digests.error());
  if (auto loaded = put_weights(packed.load(*digests)); !loaded) return loaded;
  packed_writer_ = packed.start_writing(weights_, *digests);
  packed_mover_ = packed.start_moving();
  const std::string formats = std::string(transport::name_of(format)) + " " + backend_.arithmetic_id() +
                              " slices " + std::to_string(plan_.o_slices * plan_.ranks) + " " +
                              std::to_string(plan_.down_slices * plan_.ranks);
  fingerprints_ = model_fingerprints(config_, file, formats, *digests);
  return {};
}

// On a device, a pass of decode rows through the same layers becomes one of a few shapes that are recorded:
// rows of no sequence follow, which read token 0 or kept slot 0, write no pages and whose logits nobody sees.
// Rows do not depend on their company (X1).
StepBatch RankTransformer::padded(const StepBatch& batch) {
  if (!recordable(batch)) return batch;
  const auto fill = [](std::span<const std::int32_t> from, std::int32_t most, std::vector<std::int32_t>& to) {
    const auto count = static_cast<std::int32_t>(from.size());
    to.assign(from.begin(), from.end());
    to.resize(static_cast<std::size_t>(std::max(count, std::min(step_bucket(count), most))), 0);
  };
  StepBatch wider = batch;
  fill(batch.tokens, max_rows_, padded_tokens_);
  fill(batch.logit_rows, max_logit_rows_, padded_logit_rows_);
  wider.tokens = padded_tokens_;
  wider.logit_rows = padded_logit_rows_;
  if (batch.kept_in.empty()) return wider;
  fill(batch.kept_in, max_rows_, padded_kept_in_);
  wider.kept_in = padded_kept_in_;
  return wider;
}

// Every row runs the same layers, and what is done does not hang on what only this pass knows.
bool RankTransformer::recordable(const StepBatch& batch) const {
  const auto decodes = [](const SequenceRows& s) { return s.decode && s.kv.layers == nullptr; };
  const bool joins_and_keeps = kept_kv_ && !batch.kept_in.empty() && batch.kept_out >= 0;
  const bool watched = batch.tap != nullptr || !batch.exit_taps.empty() || !batch.exit_slots.empty();
  return backend_.stream() != nullptr && !watched && same_layers(batch) && !joins_and_keeps &&
         std::all_of(batch.sequences.begin(), batch.sequences.end(), decodes);
}

bool RankTransformer::same_layers(const StepBatch& batch) {
  return std::all_of(batch.layers.begin(), batch.layers.end(),
                     [&](LayerRange range) { return range == batch.layers.front(); });
}

// `batch` has been checked; it may be padded.
void RankTransformer::begin(const StepBatch& batch) {
  rope_.reach(batch.sequences);
  sequences_.assign(batch.sequences.begin(), batch.sequences.end());
  head_lengths_.resize(sequences_.size() * static_cast<std::size_t>(plan_.kv_heads.count));
  kept_out_.clear();
  if (batch.kept_out >= 0) {  // rows that pad the pass go to the slot behind the last
    const SequenceRows& end = batch.sequences.back();
    kept_out_.resize(batch.tokens.size(), max_kept_rows_);
    std::iota(kept_out_.begin(), kept_out_.begin() + end.first_row + end.rows, batch.kept_out);
  }
  StepRows rows{batch.tokens, sequences_, batch.logit_rows, batch.kept_in, kept_out_};
  rows.same_tables = same_layers(batch) && std::all_of(batch.sequences.begin(), batch.sequences.end(),
                                                       [](const auto& s) { return s.kv.layers == nullptr; });
  backend_.begin_step(rows);
}

// x = embedding of the tokens, everywhere whole; of rows that join: what they left an earlier pass with.
void RankTransformer::enter_rows(const StepBatch& batch) {
  const std::size_t all = batch.tokens.size(), fresh = all - batch.kept_in.size();
  const FloatMatrix x = activations_.residual(static_cast<std::int64_t>(all));
  if (fresh > 0)
    backend_.embed(weights_.embedding, fresh == all ? batch.tokens : batch.tokens.first(fresh),
                   {x.data, static_cast<std::int64_t>(fresh), x.cols});
  if (fresh < all)
    backend_.gather_rows(
        activations_.kept(0, max_kept_rows_), batch.kept_in,
        {x.row(static_cast<std::int64_t>(fresh)), static_cast<std::int64_t>(all - fresh), x.cols});
  if (fresh < all && kept_kv_ && batch.kept_out >= 0)  // what they have of the layers below goes with them
    backend_.gather_rows(
        kept_kv(0, max_kept_rows_), batch.kept_in,
        kept_kv(batch.kept_out + static_cast<std::int64_t>(fresh), static_cast<std::int64_t>(all - fresh)));
}

// K and V as the rows' heads made them, before norm and RoPE: whoever takes them over applies both.
void RankTransformer::keep_kv(std::int32_t layer, const FloatMatrix& qkv) {
  const std::int64_t width = kv_width();
  const FloatMatrix out = kept_kv(0, max_kept_rows_ + 1);
  backend_.scatter_rows({qkv.data + (qkv.cols - width), qkv.rows, width, qkv.row_stride},
                        std::span(kept_out_).first(static_cast<std::size_t>(qkv.rows)),
                        {out.data + layer * width, out.rows, width, out.row_stride});
}

// The KV table of sequence i in `layer`.
void RankTransformer::set_table(const StepBatch& batch, std::size_t i, std::int32_t layer) {
  const SequenceRows& given = batch.sequences[i];
  KvTable& kv = sequences_[i].kv;
  if (given.kv.layers == nullptr) {
    kv.base = given.kv.base + static_cast<std::uint32_t>(layer) * batch.layer_unit_step;
    return;
  }
  kv = given.kv.layers[layer];
  const auto heads = static_cast<std::size_t>(plan_.kv_heads.count);
  std::uint32_t* lengths = head_lengths_.data() + i * heads;
  for (std::size_t h = 0; h < heads; ++h)
    lengths[h] = kv.head_lengths[h] + static_cast<std::uint32_t>(given.kv_before);
  kv.head_lengths = lengths;
}

// One layer over the rows of the first `active` sequences.
Result<void> RankTransformer::run_layer(std::int32_t layer, std::size_t active, const StepBatch& batch,
                                        KvPool& pool) {
  for (std::size_t i = 0; i < active; ++i) set_table(batch, i, layer);
  const SequenceRows& end = sequences_[active - 1];
  const bool all = active == sequences_.size();  // then those that pad the step, too
  const std::int64_t rows = all ? static_cast<std::int64_t>(batch.tokens.size()) : end.first_row + end.rows;
  if (auto done = attention(layer, {sequences_.data(), active}, rows, pool, batch.tap); !done) return done;
  if (auto done = feed_forward(layer, rows); !done) return done;
  if (!batch.exit_taps.empty()) tap_exits(batch, layer + 1, rows);
  return {};
}

// What rows stand at after `layer` layers goes to the slots that taps name; of other rows to nobody's slot.
void RankTransformer::tap_exits(const StepBatch& batch, std::int32_t layer, std::int64_t rows) {
  const auto taps = std::ranges::equal_range(batch.exit_taps, layer, {}, &ExitTap::layer);
  if (taps.empty()) return;
  tapped_.assign(static_cast<std::size_t>(rows), max_kept_rows_);
  for (const ExitTap& tap : taps) tapped_[static_cast<std::size_t>(tap.row)] = tap.slot;
  backend_.scatter_rows(activations_.residual(rows), tapped_, activations_.kept(0, max_kept_rows_ + 1));
}

// The model's own head on what was tapped, in as few products as its rows allow.
Result<void> RankTransformer::read_exits(const StepBatch& batch) {
  const auto most = static_cast<std::size_t>(max_logit_rows_);
  for (std::size_t first = 0; first < batch.exit_slots.size(); first += most) {
    const auto some = batch.exit_slots.subspan(first, std::min(most, batch.exit_slots.size() - first));
    if (auto made = logits_of(activations_.kept(0, max_kept_rows_), some); !made) return made;
    if (plan_.rank != 0) continue;
    const FloatMatrix logits = activations_.logits(static_cast<std::int64_t>(some.size()));
    (*batch.exit_reader)(first, {logits.data, logits.rows, config_.vocab, logits.row_stride});
  }
  return {};
}

Result<void> RankTransformer::run_layers(const StepBatch& batch, KvPool& pool) {
  for (std::int32_t layer = 0; layer < config_.layers; ++layer) {
    std::size_t active = sequences_.size();
    if (!batch.layers.empty())  // those that run this layer come first (batch_checks)
      active = static_cast<std::size_t>(
          std::find_if(batch.layers.begin(), batch.layers.end(),
                       [&](LayerRange range) { return layer < range.first || layer >= range.last; }) -
          batch.layers.begin());
    if (active == 0) continue;
    if (auto done = run_layer(layer, active, batch, pool); !done) return done;
  }
  return {};
}

// x += o(attention(q, k, v)), q, k, v = qkv(norm(x))
Result<void> RankTransformer::attention(std::int32_t layer, std::span<const SequenceRows> active,
                                        std::int64_t rows, KvPool& pool, AttentionTap* tap) {
  const LayerWeights& w = weights_.layers[static_cast<std::size_t>(layer)];
  const FloatMatrix x = activations_.residual(rows), normed = activations_.normed(rows);
  const FloatMatrix qkv = activations_.qkv(rows), attended = activations_.attended(rows);
  AttentionShape shape;
  shape.query_heads = static_cast<std::int32_t>(plan_.query_heads.count);
  shape.kv_heads = static_cast<std::int32_t>(plan_.kv_heads.count);
  shape.head_dim = config_.head_dim;
  shape.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(config_.head_dim)));
  shape.window = config_.window_of(layer);
  const HeadNorm head_norm{w.q_norm.data(), w.k_norm.data(), config_.rms_eps};

  backend_.rms_norm(x, w.attention_norm, config_.rms_eps, normed);
  if (mirror_ != nullptr && layer < mirror_->layers())
    mirror_->write_kv(layer, normed, active, *mirror_pool_);
  backend_.linear(normed, *w.qkv, w.qkv_bias, qkv);
  if (kept_kv_ && !kept_out_.empty()) keep_kv(layer, qkv);
  backend_.rope_write_kv(qkv, shape, rope_.table(), head_norm, active, pool);
  if (tap != nullptr) tap->see(layer, qkv, active);
  backend_.attention(qkv, shape, active, pool, attended, {});
  backend_.linear_sliced(attended, *w.o, activations_.own_partial(rows));
  return add_to_residual(rows, w.o_bias);
}

// x += down(silu(gate) * up), gate, up = gate_up(norm(x))
Result<void> RankTransformer::feed_forward(std::int32_t layer, std::int64_t rows) {
  const LayerWeights& w = weights_.layers[static_cast<std::size_t>(layer)];
  const FloatMatrix normed = activations_.normed(rows), gate_up = activations_.gate_up(rows);
  const FloatMatrix gated = activations_.gated(rows);

  backend_.rms_norm(activations_.residual(rows), w.ffn_norm, config_.rms_eps, normed);
  backend_.linear(normed, *w.gate_up, w.gate_up_bias, gate_up);
  backend_.silu_mul(gate_up, gated);
  backend_.linear_sliced(gated, *w.down, activations_.own_partial(rows));
  return add_to_residual(rows, w.down_bias);
}

// x += sum over ranks of the partials + bias. Every rank adds all partials, so x stays whole and equal
// everywhere.
Result<void> RankTransformer::add_to_residual(std::int64_t rows, std::span<const float> bias) {
  const std::span<float> partials = activations_.partials(rows);
  if (plan_.ranks > 1) {
    const FloatMatrix own = activations_.own_partial(rows);
    const std::span<const float> sent(own.data, static_cast<std::size_t>(own.rows * own.cols));
    if (auto gathered =
            lost(ranks_.all_gather(std::as_bytes(sent), std::as_writable_bytes(partials), backend_.stream()));
        !gathered)
      return gathered;
  }
  backend_.add_partials(partials, plan_.ranks, bias, activations_.residual(rows));
  return {};
}

// Final norm and head on some rows of whatever layer's output; each rank its share of the vocabulary, rank 0
// gets all.
Result<void> RankTransformer::logits_of(ConstFloatMatrix hidden, std::span<const std::int32_t> wanted) {
  const auto rows = static_cast<std::int64_t>(wanted.size());
  const bool leads = plan_.rank == 0;
  if (rows == 0) return {};
  const FloatMatrix chosen = activations_.chosen(rows);
  backend_.gather_rows(hidden, wanted, chosen);
  backend_.rms_norm(chosen, weights_.final_norm, config_.rms_eps, chosen);

  const FloatMatrix share = activations_.share_of(plan_.rank, rows);
  if (weights_.head)
    backend_.linear(chosen, *weights_.head, {},
                    FloatMatrix(share.data, rows, plan_.vocab.count, share.row_stride));
  const FloatMatrix logits = activations_.logits(rows);
  if (plan_.ranks > 1) {
    const std::span<const float> sent(share.data, static_cast<std::size_t>(rows * share.cols));
    const std::span<float> all = leads ? activations_.shares(rows) : std::span<float>();
    if (auto got =
            lost(ranks_.gather(std::as_bytes(sent), std::as_writable_bytes(all), 0, backend_.stream()));
        !got)
      return got;
    if (!leads) return {};
    for (int rank = 0; rank < plan_.ranks; ++rank) {  // (ranks, rows, share) -> (rows, ranks * share)
      const FloatMatrix columns(logits.data + rank * plan_.vocab_share, rows, plan_.vocab_share,
                                logits.row_stride);
      backend_.gather_rows(activations_.share_of(rank, rows), std::span(iota_).first(wanted.size()), columns);
    }
  }
  return {};
}

Result<void> RankTransformer::run_pass(const StepBatch& batch, KvPool& pool) {
  enter_rows(batch);
  if (auto layers = run_layers(batch, pool); !layers) return layers;
  if (batch.kept_out >= 0)
    backend_.scatter_rows(activations_.residual(static_cast<std::int64_t>(batch.tokens.size())), kept_out_,
                          activations_.kept(0, max_kept_rows_ + 1));
  if (auto read = read_exits(batch); !read) return read;
  return logits_of(activations_.residual(static_cast<std::int64_t>(batch.tokens.size())), batch.logit_rows);
}

// What a record bakes in besides shapes: whose layers, which, the pool, its geometry and how its units are
// numbered.
std::uint64_t RankTransformer::tag_of(const StepBatch& batch, const KvPool& pool) const {
  const LayerRange layers = batch.layers.empty() ? LayerRange{0, config_.layers} : batch.layers.front();
  std::uint64_t tag = reinterpret_cast<std::uintptr_t>(this);
  for (const std::uint64_t fact :
       {static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(&pool)), std::uint64_t{pool.units()},
        static_cast<std::uint64_t>(pool.unit_bytes()), static_cast<std::uint64_t>(pool.dtype()),
        std::uint64_t{batch.layer_unit_step}, static_cast<std::uint64_t>(layers.first),
        static_cast<std::uint64_t>(layers.last), std::uint64_t{batch.kept_out >= 0},
        std::uint64_t{!batch.kept_in.empty()}})
    tag = (tag ^ fact) * 0x100000001b3U;
  return tag;
}

Result<ConstFloatMatrix> RankTransformer::forward(const StepBatch& asked, KvPool& pool) {
  check_batch(asked, {max_rows_, max_logit_rows_, max_kept_rows_, config_.layers, config_.vocab,
                      rope_.table().max_positions});
  const StepBatch batch = padded(asked);
  begin(batch);
  ConstFloatMatrix logits = where_logits_are(asked);
  // Where one rank mirrors, no rank records: collectives are called in the same way everywhere.
  auto ran = recordable(batch) && !mirrored_
                 ? backend_.run_recorded(tag_of(batch, pool), [&] { return run_pass(batch, pool); })
                 : run_pass(batch, pool);
  backend_.end_step();
  if (!ran) return tl::unexpected(ran.error());
  if (plan_.ranks > 1 && !backend_.host_addressable())
    if (auto finished = lost(ranks_.await_stream(backend_.stream())); !finished)
      return tl::unexpected(finished.error());
  if (logits.rows == 0 || batch.logits_stay || backend_.host_addressable()) return logits;
  host_logits_.resize(static_cast<std::size_t>(logits.rows * logits.row_stride));
  backend_.download(host_logits_.data(), logits.data,
                    static_cast<std::int64_t>(host_logits_.size() * sizeof(float)));
  return ConstFloatMatrix(host_logits_.data(), logits.rows, logits.cols, logits.row_stride);
}

// The layout that rope_write_kv wants has queries: as many as there are KV heads, whose values nobody reads.
void RankTransformer::write_kv(std::int32_t layer, ConstFloatMatrix normed,
                               std::span<const SequenceRows> sequences, KvPool& pool) {
  const LayerWeights& w = weights_.layers[static_cast<std::size_t>(layer)];
  const auto heads = static_cast<std::uint32_t>(plan_.kv_heads.count);
  const std::int64_t width = kv_width();
  const FloatMatrix rows(activations_.qkv(normed.rows).data, normed.rows, width + width / 2);
  std::span<const float> bias = w.qkv_bias;
  if (!bias.empty()) bias = bias.last(static_cast<std::size_t>(width));
  backend_.linear(normed, *w.kv, bias, {rows.data + width / 2, rows.rows, width, rows.row_stride});
  sequences_.assign(sequences.begin(), sequences.end());
  for (SequenceRows& sequence : sequences_) {
    sequence.kv.scale = static_cast<std::uint32_t>(config_.layers) * heads;
    sequence.kv.base = static_cast<std::uint32_t>(layer) * heads;
  }
  write_heads(layer, rows, sequences_, pool);
}

void RankTransformer::write_heads(std::int32_t layer, FloatMatrix rows,
                                  std::span<const SequenceRows> sequences, KvPool& pool) {
  rope_.reach(sequences);
  const LayerWeights& w = weights_.layers[static_cast<std::size_t>(layer)];
  AttentionShape shape;
  shape.query_heads = shape.kv_heads = static_cast<std::int32_t>(plan_.kv_heads.count);
  shape.head_dim = config_.head_dim;
  backend_.rope_write_kv(rows, shape, rope_.table(), {w.q_norm.data(), w.k_norm.data(), config_.rms_eps},
                         sequences, pool);
}

void RankTransformer::give_drafted(std::span<const std::int32_t> slots, FloatMatrix hidden, FloatMatrix kv) {
  backend_.gather_rows(activations_.kept(0, max_kept_rows_), slots, hidden);
  const FloatMatrix all = kept_kv(0, max_kept_rows_);
  backend_.gather_rows({all.data, all.rows, kv.cols, all.row_stride}, slots, kv);
}

void RankTransformer::take_drafted(const DraftedRows& drafted, KvPool& pool) {
  const std::span<const std::int32_t> all =
      std::span(iota_).first(static_cast<std::size_t>(drafted.hidden.rows));
  backend_.gather_rows(drafted.hidden, all, activations_.kept(0, drafted.hidden.rows));
  const std::int64_t d = config_.head_dim, own = plan_.kv_heads.count * d, first = plan_.kv_heads.begin * d;
  const std::int64_t of_all = config_.kv_heads * d;
  sequences_.assign(drafted.sequences.begin(), drafted.sequences.end());
  for (std::int32_t layer = 0; layer < drafted.exits.front(); ++layer) {
    std::size_t active = 0;  // those whose exit lies above this layer come first
    while (active < drafted.exits.size() && drafted.exits[active] > layer) ++active;
    const SequenceRows& end = sequences_[active - 1];
    const std::int64_t rows = end.first_row + end.rows;
    const FloatMatrix heads(activations_.qkv(rows).data, rows, 3 * own);
    const float* layer_kv = drafted.kv.data + layer * 2 * of_all;
    for (const std::int64_t part : {0, 1})  // K, V
      backend_.gather_rows({layer_kv + part * of_all + first, rows, own, drafted.kv.row_stride},
                           all.first(static_cast<std::size_t>(rows)),
                           {heads.data + (1 + part) * own, rows, own, heads.row_stride});
    for (std::size_t i = 0; i < active; ++i)
      sequences_[i].kv.base =
          drafted.sequences[i].kv.base + static_cast<std::uint32_t>(layer) * drafted.layer_unit_step;
    write_heads(layer, heads, std::span(sequences_).first(active), pool);
  }
}

// The same for every step of this shape, so that a recorded step need not say it.
ConstFloatMatrix RankTransformer::where_logits_are(const StepBatch& batch) const {
  const auto rows = static_cast<std::int64_t>(batch.logit_rows.size());
  if (rows == 0 || plan_.rank != 0) return ConstFloatMatrix(nullptr, 0, config_.vocab);
  const FloatMatrix logits = activations_.logits(rows);
  return ConstFloatMatrix(logits.data, rows, config_.vocab, logits.row_stride);
}

}  // namespace

Result<std::unique_ptr<Transformer>> Transformer::load(const ModelConfig& config,
                                                       const TransformerOptions& options, Backend& backend,
                                                       transport::Communicator& ranks) {
  if (auto ok = check_options(config, options); !ok) return tl::unexpected(ok.error());
  const auto plan = ShardPlan::make(config, ranks.rank(), ranks.size());
  if (!plan) return tl::unexpected(plan.error());
  ShardPlan shares = *plan;
  ModelConfig held = config;
  if (options.first_layers > 0) {
    held.layers = options.first_layers;
    shares.kv_alone = true;
  }
  auto made = std::make_unique<RankTransformer>(std::move(held), shares, backend, ranks);
  if (auto loaded = made->load(options); !loaded) return tl::unexpected(loaded.error());
  return std::unique_ptr<Transformer>(std::move(made));
}

}  // namespace leadline::worker
