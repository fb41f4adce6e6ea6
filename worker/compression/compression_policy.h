#pragma once
// CompressionMethod: a way to make the KV of a prompt smaller = scorer + budget + selector + merger, and
// traits that the engine must know. Not the engine: a method sees floats and ids of one KV head, never pages,
// tables or other ranks; the engine gathers, cuts, copies and frees. Thread: pure functions of values, any
// thread. Invariants: a decision depends on its KV head alone, or, with heads_shared, on scores that the
// engine averaged over all KV heads in head order: so the same lists over 1, 2, 4 ranks (exactness X4). A
// budget of all slots keeps all of them, whatever the method.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "worker/compression/compression_params.h"
#include "worker/compression/slot_groups.h"

namespace leadline::worker {

// How far compressed KV may be reused (kv_compression.md 4.4; exactness X4).
enum class ReuseClass : std::uint8_t {
  append = 0,      // a function of the token prefix, segment by segment: shared like exact pages
  snapshot = 1,    // a function of the whole prefix up to where it was made
  query_bound = 2  // depends on the last rows of the prompt: for the identical prompt only
};

// Of a prompt: what CompressStep::seed and HeadInput::seed are.
std::uint64_t compression_seed(std::span<const std::int32_t> tokens);

// One KV head of one layer. Spans are empty unless the method's taps name them.
struct HeadInput {
  std::uint32_t layer = 0, layers = 1;
  std::uint32_t head = 0;  // over all ranks
  std::uint32_t slots = 0, head_dim = 0;
  std::uint64_t seed = 0;                // of the prompt's tokens, for choices by lot
  std::span<const float> keys;           // (slots, head_dim)
  std::span<const float> window;         // (slots) summed over the window's rows, mean over the query group
  std::span<const float> columns;        // (slots) summed over all rows, mean over the query group
  std::span<const std::int32_t> tokens;  // (slots)
  std::span<const std::uint8_t> delimiters;  // (slots) 1 where the token ends a chunk
};

struct MethodTraits {
  std::uint8_t taps = kTapNone;
  ReuseClass reuse = ReuseClass::query_bound;  // the best that the method allows
  bool heads_shared = false;                   // scores are averaged over all KV heads before selection
  bool layers_grouped = false;  // a quarter of the layers uses the selection of the first of them
  bool merges = false;          // groups of several slots: needs the slots' log counts as bias
  bool by_threshold = false;    // `threshold` means something
  bool by_task = false;         // `task` means something: somebody must ask what the prompt is about
};

// Importance of every slot, higher is better. Null: the selector needs none.
using Scorer = void (*)(const HeadInput& head, const CompressionParams& params, std::span<float> scores);
// Slots that stay in `layer`, pins included, of `slots`; the mean over layers is what the parameters ask for.
using Budget = std::uint32_t (*)(const CompressionParams& params, std::uint32_t slots, std::uint32_t layer,
                                 std::uint32_t layers);
// REQUIRES: budget < slots, or a threshold.
using Selector = SlotGroups (*)(const HeadInput& head, const CompressionParams& params,
                                std::span<const float> scores, std::uint32_t budget);
// Writes groups.size() rows of keys and values, and the logit bias of each.
using Merger = void (*)(const SlotGroups& groups, const HeadSlots& slots, const MergedSlots& out);

struct CompressionMethod {
  std::string_view name;
  std::string_view source;  // paper and equation
  MethodTraits traits;
  Scorer score = nullptr;
  Budget budget = nullptr;
  Selector select = nullptr;
  Merger merge = nullptr;  // null: kept slots are copied bit for bit
};

// All methods; the row is CompressionParams::method. Row 0 is the full cache.
std::span<const CompressionMethod> compression_methods();
const CompressionMethod* find_method(std::string_view name);
std::string method_names();  // "full, random, ...", for messages
// "" or what contradicts itself in a method's row; checked at start.
std::string check(const CompressionMethod& method);

// Whether a prompt of `slots` comes out as it went in: no tap, no copy, exact reuse.
bool keeps_everything(const CompressionMethod& method, const CompressionParams& params, std::uint32_t slots);
ReuseClass reuse_of(const CompressionMethod& method, const CompressionParams& params);
// Rows at the prompt's end whose queries the method reads, 0 if none.
std::uint32_t window_rows(const CompressionMethod& method, const CompressionParams& params,
                          std::uint32_t slots);
// Pages of all layers and heads that `slots` slots compressed take at most: whole units per layer and head.
std::uint32_t compressed_bound(const CompressionMethod& method, const CompressionParams& params,
                               std::uint32_t slots, std::uint32_t layers);
// Layers that use the selection of layer `first_of_group(layer)`.
std::uint32_t first_of_group(const CompressionMethod& method, std::uint32_t layer, std::uint32_t layers);

// The whole decision for one head: scores (unless shared ones are given), budget, selection.
SlotGroups decide(const CompressionMethod& method, const CompressionParams& params, const HeadInput& head,
                  std::span<const float> shared_scores = {});

}  // namespace leadline::worker
