#pragma once
// Compressor: one rank's part of a CompressStep: gathers what the method reads, asks it about each of its KV
// heads, writes the slots that stay into the pages given, and keeps the lists that attention then walks. Not
// a decision maker and not page ownership. Thread: the step thread. Invariants: every rank calls the same
// collectives in the same order; a head's list depends on its own KV and queries, or on scores averaged over
// all heads in head order, so the lists are the same over 1, 2 and 4 ranks; slots that are not merged move
// bit for bit.

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "transport/collective/communicator.h"
#include "worker/compression/compressed_lists.h"
#include "worker/compression/compression_policy.h"
#include "worker/compression/query_taps.h"
#include "worker/scheduler/step_plan.h"

namespace leadline::worker {

struct CompressorShape {
  std::uint32_t layers = 0;
  std::uint32_t kv_heads = 0;     // of the model
  std::uint32_t query_heads = 0;  // of the model
  std::uint32_t local_kv_heads = 0;
  std::uint32_t pages = 0;  // of the pool
};

struct CompressOutcome {
  SequenceId sequence;
  std::uint32_t pages = 0;   // of `to` that are used, on the rank that needs most
  std::uint32_t tokens = 0;  // that went in, per layer and head
  std::uint32_t lists = 0;   // layers * KV heads
  std::uint64_t slots = 0;   // that stay, over all layers and KV heads
  std::uint64_t digest = 0;  // of all lists in head order: the same on every rank count
  std::uint64_t us = 0;
};

class Compressor {
 public:
  // configuration: pages that host code cannot read, or heads that do not divide.
  static Result<std::unique_ptr<Compressor>> make(const CompressorShape& shape, KvPool& pool,
                                                  transport::Communicator& ranks);

  // rank_lost from a collective; configuration if the step names pages or methods that this rank does not
  // have.
  Result<CompressOutcome> compress(const CompressStep& step);
  void forget(SequenceId sequence);
  // Benchmarks compress one prompt in many ways: from now on what was tapped, and what was read of the pages,
  // stays until forget().
  void keep_inputs() { kept_inputs_.resize(shape_.layers); }

  [[nodiscard]] QueryTaps& taps() { return taps_; }
  [[nodiscard]] CompressedLists& lists() { return lists_; }

 private:
  struct Job;
  // What a layer's decisions read, per local KV head.
  struct LayerInputs {
    bool has_keys = false, has_values = false;
    std::vector<std::vector<float>> keys, values;        // (slots, head_dim)
    std::map<std::uint32_t, std::vector<float>> window;  // by rows: (query heads, slots)
  };
  Compressor(const CompressorShape& shape, PageSlots pages, transport::Communicator& ranks);
  Result<void> run_layer(Job& job, std::uint32_t layer);
  void read_slots(Job& job, std::uint32_t layer);
  Result<void> read_attention(Job& job, std::uint32_t layer);
  Result<void> share_scores(Job& job, std::uint32_t layer);
  [[nodiscard]] HeadInput input_of(const Job& job, std::uint32_t layer, std::uint32_t head) const;
  void write_head(Job& job, std::uint32_t layer, std::uint32_t head, const SlotGroups& groups);
  Result<CompressOutcome> agree(const Job& job);
  [[nodiscard]] std::uint32_t unit_of(PageId page, std::uint32_t layer, std::uint32_t head) const {
    return (page.value * shape_.layers + layer) * shape_.local_kv_heads + head;
  }
  // Ranks that hold a copy of one KV head.
  [[nodiscard]] std::uint32_t copies() const {
    return static_cast<std::uint32_t>(ranks_.size()) * shape_.local_kv_heads / shape_.kv_heads;
  }
  template <typename T>
  Result<std::vector<T>> gather_all(std::span<const T> mine);

  const CompressorShape shape_;
  const std::uint32_t first_head_;
  PageSlots pages_;
  transport::Communicator& ranks_;
  QueryTaps taps_;
  CompressedLists lists_;
  std::vector<LayerInputs> kept_inputs_;  // per layer; empty while serving
};

}  // namespace leadline::worker
