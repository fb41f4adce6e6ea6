#pragma once
// CompressedLists: this rank's compressed sequences: per (layer, KV head) the units of what was compressed,
// how many slots of each are valid, and the slots' logit bias; and the KV tables that attention reads for
// them. Not decisions (compressor.h) and not page ownership: units lie on pages that rank 0 gave. Thread: the
// step thread. Invariants: a part starts on a fresh unit in every head; units never change once written; what
// follows the compressed part lies on ordinary pages, the same for all layers and heads.

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "worker/backend/kv_view.h"
#include "worker/sequence_id.h"

namespace leadline::worker {

struct CompressedHead {
  std::vector<std::uint32_t> units;
  std::vector<std::uint8_t> valid;  // slots of each unit, 1..16
  std::vector<float> bias;          // (units * 16), empty where nothing was merged
};

class CompressedLists {
 public:
  CompressedLists(std::uint32_t layers, std::uint32_t kv_heads) : layers_(layers), kv_heads_(kv_heads) {}

  [[nodiscard]] bool contains(SequenceId sequence) const { return sequences_.contains(sequence); }
  // The head's list; made empty with the sequence.
  CompressedHead& head(SequenceId sequence, std::uint32_t layer, std::uint32_t kv_head);
  void drop(SequenceId sequence) { sequences_.erase(sequence); }
  [[nodiscard]] std::size_t size() const { return sequences_.size(); }

  // Tables of all layers (KvTable::layers) for rows on the ordinary pages `tail`, which hold the rows to
  // come, too; valid until the next call for this sequence. REQUIRES: contains(sequence).
  [[nodiscard]] const KvTable* tables(SequenceId sequence, std::span<const std::uint32_t> tail);

 private:
  struct Sequence {
    std::vector<CompressedHead> heads;  // (layers, kv_heads)
    // What tables() points into.
    std::vector<std::uint32_t> units;
    std::vector<std::uint8_t> valid;
    std::vector<std::uint32_t> lengths;  // (layers, kv_heads)
    std::vector<const float*> bias;      // (layers, kv_heads)
    std::vector<KvTable> tables;         // (layers)
  };
  void fill_row(const CompressedHead& head, std::span<const std::uint32_t> tail, std::uint32_t first_unit,
                std::uint32_t* units, std::uint8_t* valid) const;

  const std::uint32_t layers_, kv_heads_;
  std::unordered_map<SequenceId, Sequence> sequences_;
};

}  // namespace leadline::worker
