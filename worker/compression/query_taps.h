#pragma once
// QueryTaps: what methods read of a prompt's queries, kept per sequence while its chunks run: the rows of the
// observation window, and probabilities summed over all rows. Not scores of KV heads: sums stay per query
// head, so that groups whose heads lie on several ranks can be put together. Thread: the step thread.
// Invariants: the sums do not depend on how the prompt was cut into chunks; a sequence's memory goes with
// drop().

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "worker/compression/compression_params.h"
#include "worker/compression/page_slots.h"
#include "worker/kvcache/page.h"
#include "worker/model/attention_tap.h"
#include "worker/sequence_id.h"

namespace leadline::worker {

struct TapShape {
  std::uint32_t layers = 0, query_heads = 0, kv_heads = 0, head_dim = 0;  // of this rank
};

// What of a sequence's rows in this step is kept.
struct TapRequest {
  SequenceId sequence;
  std::uint8_t taps = kTapNone;
  std::uint32_t window_from = 0;  // first position of the observation window
  std::uint32_t end = 0;          // of the prompt
};

class QueryTaps final : public AttentionTap {
 public:
  QueryTaps(TapShape shape, PageSlots pages) : shape_(shape), pages_(pages) {}

  // Requests of the pass to come, one per sequence of its batch, in its order. True if any is not empty.
  bool expect(std::span<const TapRequest> requests);
  void see(std::int32_t layer, ConstFloatMatrix qkv, std::span<const SequenceRows> sequences) override;
  void drop(SequenceId sequence) { kept_.erase(sequence); }
  // A prompt that goes on where the prompt `from` ended: what was kept of that one's rows counts as seen. For
  // benchmarks that ask many questions about one text. REQUIRES: from was seen, and ends before to.end.
  void branch(SequenceId from, const TapRequest& to);

  // Probabilities summed over the last `rows` of the window per slot, (query heads, slots); keys of each KV
  // head of `layer` are (slots, head_dim). REQUIRES: the rows were seen.
  [[nodiscard]] std::vector<float> window_sums(SequenceId sequence, std::uint32_t layer, std::uint32_t rows,
                                               std::span<const std::vector<float>> keys) const;
  // The same over all rows.
  [[nodiscard]] std::span<const float> column_sums(SequenceId sequence, std::uint32_t layer) const;

 private:
  struct Kept {
    TapRequest request;
    float scale = 1;
    std::vector<float> queries;               // (layers, window rows, query heads * head_dim)
    std::vector<std::vector<float>> columns;  // per layer (query heads, slots)
  };
  void keep_window(Kept& kept, std::int32_t layer, ConstFloatMatrix qkv, const SequenceRows& rows) const;
  void add_columns(Kept& kept, std::int32_t layer, ConstFloatMatrix qkv, const SequenceRows& rows) const;

  const TapShape shape_;
  const PageSlots pages_;
  std::unordered_map<SequenceId, Kept> kept_;
  std::vector<Kept*> pass_;  // per sequence of the pass at hand, or null
};

}  // namespace leadline::worker
