#pragma once
// A sequence with its history, a random page table and everything that a test of paged attention varies; and
// the f64 reference. Not a KV cache: pages are drawn at random from one pool. Thread: one test.

#include <algorithm>
#include <numeric>
#include <vector>

#include "tests/conformance/backend_reference.h"

namespace leadline::worker::conformance {

struct AttentionCase {
  AttentionShape shape;
  DType dtype = DType::f32;
  std::int32_t before = 0, rows = 1;
  bool rotate = false;  // else the identity, so that K in the pages is the rounded input
  bool bias = false;
  std::vector<std::uint32_t> head_before;  // per KV head; empty: `before` for all
  std::vector<std::uint8_t> page_valid;    // per page, all heads alike; empty: full
};

class AttentionWorld {
 public:
  AttentionWorld(const AttentionCase& c, std::uint32_t seed) : c_(c), random_(seed) {
    const AttentionShape& s = c.shape;
    if (c_.head_before.empty()) c_.head_before.assign(size_t(s.kv_heads), std::uint32_t(c.before));
    total_ = c.before + c.rows;
    columns_ = std::int64_t{s.query_heads + 2 * s.kv_heads} * s.head_dim;
    qkv_ = random_.normals(std::int64_t{total_} * columns_);
    pages_ = std::uint32_t(total_ + 15) / 16;
    table_.resize(size_t(pages_) * size_t(s.kv_heads));
    std::vector<std::uint32_t> units(table_.size() + 5);
    std::iota(units.begin(), units.end(), 0u);
    std::shuffle(units.begin(), units.end(), std::mt19937(seed));
    std::copy_n(units.begin(), table_.size(), table_.begin());
    units_ = std::uint32_t(units.size());
    const std::int64_t half = s.head_dim / 2;
    for (std::int64_t p = 0; p < total_; ++p) {
      for (std::int64_t i = 0; i < half; ++i) {
        const double angle = c.rotate ? double(p) * std::pow(10000.0, -double(i) / double(half)) : 0;
        cos_.push_back(float(std::cos(angle)));
        sin_.push_back(float(std::sin(angle)));
      }
    }
    for (std::int32_t h = 0; h < s.kv_heads; ++h) {
      biases_.push_back(random_.normals(c.before));
      biases_.back().resize(size_t(total_), 0.0f);  // fresh slots have none, whichever step wrote them
      bias_pointers_.push_back(biases_.back().data());
      valid_.insert(valid_.end(), c.page_valid.begin(), c.page_valid.end());
    }
  }

  [[nodiscard]] std::uint32_t units() const { return units_; }
  [[nodiscard]] std::int32_t rows() const { return c_.rows; }
  [[nodiscard]] RopeTable rope() const { return {cos_.data(), sin_.data(), total_}; }

  // Rows [first, first + rows) of the sequence as one step; first_row says where they are in the step.
  [[nodiscard]] SequenceRows step(std::int32_t first, std::int32_t rows, std::int32_t first_row = 0) {
    SequenceRows s;
    s.first_row = first_row;
    s.rows = rows;
    s.first_position = s.kv_before = first;
    s.kv.table = table_.data();
    s.kv.head_stride = pages_;
    if (first >= c_.before) {  // what describes the history before the step under test
      lengths_ = c_.head_before;
      for (std::uint32_t& n : lengths_) n += std::uint32_t(first - c_.before);
      s.kv.head_lengths = lengths_.data();
      if (!valid_.empty()) s.kv.valid = valid_.data();
      if (c_.bias) s.kv.slot_bias = bias_pointers_.data();
    }
    return s;
  }
  [[nodiscard]] Floats input(std::int32_t first, std::int32_t rows) const {
    return {qkv_.begin() + first * columns_, qkv_.begin() + (first + rows) * columns_};
  }

  struct Output {
    Floats out, lse;
    bool operator==(const Output&) const = default;
  };
  // Writes the history, in chunks of `chunk`.
  void write_history(Backend& backend, KvPool& pool, std::int32_t chunk) {
    for (std::int32_t first = 0; first < c_.before; first += chunk) {
      const std::int32_t n = std::min(chunk, c_.before - first);
      Floats qkv = input(first, n);
      const SequenceRows s = step(first, n);
      backend.rope_write_kv(FloatMatrix(qkv.data(), n, columns_), c_.shape, rope(), {}, std::span(&s, 1),
                            pool);
    }
  }
  // The rows under test, in steps of `chunk`.
  Output run(Backend& backend, KvPool& pool, std::int32_t chunk) {
    Output all;
    const std::int64_t width = std::int64_t{c_.shape.query_heads} * c_.shape.head_dim;
    for (std::int32_t first = 0; first < c_.rows; first += chunk) {
      const std::int32_t n = std::min(chunk, c_.rows - first);
      Floats qkv = input(c_.before + first, n), out = poisoned(n * width),
             lse = poisoned(n * c_.shape.query_heads);
      const SequenceRows s = step(c_.before + first, n);
      FloatMatrix x(qkv.data(), n, columns_);
      backend.rope_write_kv(x, c_.shape, rope(), {}, std::span(&s, 1), pool);
      backend.attention(x, c_.shape, std::span(&s, 1), pool, FloatMatrix(out.data(), n, width), lse);
      all.out.insert(all.out.end(), out.begin(), out.end());
      all.lse.insert(all.lse.end(), lse.begin(), lse.end());
    }
    return all;
  }

  // f64 value of one element of q (head < query_heads), k or v after rotation, as the pages round it.
  [[nodiscard]] double element(std::int32_t token, std::int32_t head, std::int32_t d) const {
    const AttentionShape& s = c_.shape;
    const float* x = qkv_.data() + token * columns_ + std::int64_t{head} * s.head_dim;
    const bool value = head >= s.query_heads + s.kv_heads;
    if (c_.dtype == DType::i8 && head >= s.query_heads) return quantised(x, d);
    double y = x[d];
    if (!value) {
      const std::int32_t half = s.head_dim / 2, i = d % half;
      const double c = cos_[size_t(token * half + i)], n = sin_[size_t(token * half + i)];
      y = d < half ? x[d] * c - double(x[d + half]) * n : x[d] * c + double(x[d - half]) * n;
    }
    return head < s.query_heads ? y : rounded(y, c_.dtype);
  }
  // int8 pages by their definition: one scale for a slot of a head (X1). Only where nothing is rotated: the
  // last bit of a rotation may decide between two bytes.
  [[nodiscard]] double quantised(const float* x, std::int32_t d) const {
    float top = 0;
    for (std::int32_t i = 0; i < c_.shape.head_dim; ++i) top = std::max(top, std::fabs(x[i]));
    const float scale = top / 127.0f, inverse = top > 0 ? 127.0f / top : 0.0f;
    return double(std::nearbyint(x[d] * inverse)) * scale;
  }
  // Which token's KV a slot of a head holds for row r; -1: the row does not see the slot.
  [[nodiscard]] std::int32_t token_of(std::int32_t slot, std::int32_t head, std::int32_t row) const {
    const auto length = std::int32_t(c_.head_before[size_t(head)]), last = length + row;
    if (slot > last || (c_.shape.window > 0 && slot <= last - c_.shape.window)) return -1;
    if (slot >= length) return c_.before + slot - length;
    if (!c_.page_valid.empty() && slot / 16 < length / 16 && slot % 16 >= c_.page_valid[size_t(slot / 16)])
      return -1;
    return slot;
  }
  struct Expected {
    std::vector<double> out;  // (head_dim)
    double lse = 0, magnitude = 0, score_norm = 0;
  };
  [[nodiscard]] Expected expected(std::int32_t row, std::int32_t query_head) const;

  const AttentionCase& parameters() const { return c_; }

 private:
  AttentionCase c_;
  Random random_;
  std::int32_t total_;
  std::int64_t columns_;
  std::uint32_t pages_, units_;
  Floats qkv_, cos_, sin_;
  std::vector<std::uint32_t> table_, lengths_;
  std::vector<Floats> biases_;
  std::vector<const float*> bias_pointers_;
  std::vector<std::uint8_t> valid_;
};

inline AttentionWorld::Expected AttentionWorld::expected(std::int32_t row, std::int32_t query_head) const {
  const AttentionShape& s = c_.shape;
  const std::int32_t head = query_head / (s.query_heads / s.kv_heads),
                     length = std::int32_t(c_.head_before[size_t(head)]);
  Expected e;
  e.out.assign(size_t(s.head_dim), 0);
  std::vector<double> scores;
  std::vector<std::int32_t> tokens;
  for (std::int32_t slot = 0; slot <= length + row; ++slot) {
    const std::int32_t token = token_of(slot, head, row);
    if (token < 0) continue;
    double dot = 0, norm = 0;
    for (std::int32_t d = 0; d < s.head_dim; ++d) {
      const double term = element(c_.before + row, query_head, d) * element(token, s.query_heads + head, d);
      dot += term;
      norm += std::fabs(term);
    }
    scores.push_back(dot * s.scale + (c_.bias && slot < length ? biases_[size_t(head)][size_t(slot)] : 0));
    tokens.push_back(token);
    e.score_norm = std::max(e.score_norm, norm * s.scale + 8);
  }
  const double top = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (double x : scores) sum += std::exp(x - top);
  e.lse = top + std::log(sum);
  for (size_t i = 0; i < scores.size(); ++i) {
    const double p = std::exp(scores[i] - e.lse);
    for (std::int32_t d = 0; d < s.head_dim; ++d) {
      const double v = element(tokens[i], s.query_heads + s.kv_heads + head, d);
      e.out[size_t(d)] += p * v;
      e.magnitude = std::max(e.magnitude, std::fabs(v));
    }
  }
  return e;
}

}  // namespace leadline::worker::conformance
