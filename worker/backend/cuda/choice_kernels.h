#pragma once
// Device code that chooses a token from a row of logits: the host sampler's definitions and order
// (worker/sampling/sampler.h): edits, log-softmax, temperature, top-k, top-p, min-p, argmax of log p + Gumbel
// noise keyed by (seed, position, id). Not another sampler: what decides a token is computed with the host's
// own operations, so tokens are `==`; sums over the row (the masses of top-p, the log-sum) are f64 in another
// order, so that a cut could differ only where a mass meets p to 1e-15, and a logprob by its last bit.
//
// A block works on one row. A cut of top-k or top-p is (edge value, last id): what comes after in the order
// (larger value first, equal values by smaller id) is gone. It is found by descending the bits of the
// values' ordered keys, three at a time, adding up what weighs above; nothing is sorted and nothing is
// atomic. Noise: Philox 4x32-10 (Salmon, Moraes, Dror, Shaw, SC 2011).

#include "worker/backend/cuda/device_code.h"

namespace leadline::worker::cuda {

constexpr int kChoiceBits = 3;
constexpr int kChoiceBins = 1 << kChoiceBits;
constexpr int kChoiceWarps = kChoiceThreads / 32;
constexpr float kLargestFloat = 3.402823466e38f;

LEADLINE_DEVICE double shuffle_xor(double x, int mask) {
  union {
    double d;
    float halves[2];
  } u;
  u.d = x;
  u.halves[0] = shuffle_xor(u.halves[0], mask);
  u.halves[1] = shuffle_xor(u.halves[1], mask);
  return u.d;
}

// Sums of kCount values over the block, in one order, to every thread. `scratch`: kCount * kChoiceWarps
// doubles.
template <int kCount>
LEADLINE_DEVICE void block_sums(double* x, double* scratch) {
  for (int i = 0; i < kCount; ++i) {
    for (int mask = 16; mask > 0; mask >>= 1) x[i] += shuffle_xor(x[i], mask);
    if (thread_index() % 32 == 0) scratch[i * kChoiceWarps + thread_index() / 32] = x[i];
  }
  block_barrier();
  for (int i = 0; i < kCount; ++i) {
    x[i] = 0;
    for (int w = 0; w < kChoiceWarps; ++w) x[i] += scratch[i * kChoiceWarps + w];
  }
  block_barrier();
}

// The best of some candidates: larger score, then smaller id; id -1: none.
struct Candidate {
  double score;
  std::int32_t id;
};
LEADLINE_DEVICE void take_better(Candidate& best, double score, std::int32_t id) {
  if (id < 0) return;
  if (best.id >= 0 && (score < best.score || (score == best.score && id > best.id))) return;
  best.score = score;
  best.id = id;
}
LEADLINE_DEVICE Candidate block_best(Candidate best, double* scratch) {
  for (int mask = 16; mask > 0; mask >>= 1) {
    const double score = shuffle_xor(best.score, mask);
    const float id = shuffle_xor(bits_to_float(static_cast<std::uint32_t>(best.id)), mask);
    take_better(best, score, static_cast<std::int32_t>(float_to_bits(id)));
  }
  if (thread_index() % 32 == 0) {
    scratch[thread_index() / 32] = best.score;
    scratch[kChoiceWarps + thread_index() / 32] = best.id;
  }
  block_barrier();
  for (int w = 0; w < kChoiceWarps; ++w)
    take_better(best, scratch[w], static_cast<std::int32_t>(scratch[kChoiceWarps + w]));
  block_barrier();
  return best;
}

// exp for x <= 0, the host sampler's polynomial, operation by operation (logit_select.cpp).
LEADLINE_DEVICE float choice_exp(float x) {
  const float clamped = x < -87.0f ? -87.0f : x;
  const float scaled = clamped * 1.44269504f;
  const auto n = static_cast<std::int32_t>(scaled - 0.5f);
  const auto nf = static_cast<float>(n);
  const float r = (clamped - nf * 0.693359375f) + nf * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  const float e = (p * r * r + r) + 1.0f;
  return x < -87.0f ? 0.0f : e * bits_to_float(static_cast<std::uint32_t>(n + 127) << 23);
}

// Keys in the order of the values; 0 never occurs for a number.
LEADLINE_DEVICE std::uint32_t ordered_key(float x) {
  const std::uint32_t bits = float_to_bits(x);
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}
LEADLINE_DEVICE float value_of_key(std::uint32_t key) {
  return bits_to_float((key & 0x80000000u) != 0 ? key & 0x7fffffffu : ~key);
}

// What stays: values before or at (edge, last) in the order.
struct Cut {
  float edge;
  std::int32_t last;
  LEADLINE_DEVICE bool keeps(float value, std::int32_t id) const {
    return value > edge || (value == edge && id <= last);
  }
};

struct ChoiceRow {
  const float* logits;  // masked and edited; -inf: absent
  std::int32_t count;
  float top, temperature;
  // log p up to a constant; + 0 makes one zero of two.
  LEADLINE_DEVICE float warped(std::int32_t i) const { return (logits[i] - top) / temperature + 0.0f; }
};

// What a descent weighs: (key, weight) of each id; key 0: not there.
struct CountedValues {
  ChoiceRow row;
  LEADLINE_DEVICE std::uint32_t key(std::int32_t i) const {
    return row.logits[i] == minus_infinity() ? 0 : ordered_key(row.warped(i));
  }
  LEADLINE_DEVICE double weight(std::int32_t) const { return 1.0; }
};
struct MassOfValues {
  ChoiceRow row;
  Cut cut;  // of top-k
  LEADLINE_DEVICE std::uint32_t key(std::int32_t i) const {
    const float x = row.warped(i);
    return row.logits[i] == minus_infinity() || !cut.keeps(x, i) ? 0 : ordered_key(x);
  }
  LEADLINE_DEVICE double weight(std::int32_t i) const { return choice_exp(row.warped(i)); }
};
template <class Values>
struct IdsOfOneValue {  // smaller ids first
  Values values;
  std::uint32_t of;
  LEADLINE_DEVICE std::uint32_t key(std::int32_t i) const {
    return values.key(i) == of ? 0x80000000u - static_cast<std::uint32_t>(i) : 0;
  }
  LEADLINE_DEVICE double weight(std::int32_t) const { return 1.0; }
};

struct Descent {
  std::uint32_t key;  // the largest with weight(keys >= key) >= target
  double above, at;   // weight of larger keys, and of this one
};

// REQUIRES 0 < target <= weight of all.
template <class Weighed>
LEADLINE_DEVICE Descent descend(const Weighed& of, std::int32_t count, double target, double* scratch) {
  Descent d{0, 0, 0};
  for (int shift = 30; shift >= 0; shift -= kChoiceBits) {
    const int known = shift + kChoiceBits;  // bits above are chosen; the first pass has two to choose
    double bins[kChoiceBins] = {0, 0, 0, 0, 0, 0, 0, 0};
    for (std::int32_t i = thread_index(); i < count; i += kChoiceThreads) {
      const std::uint32_t key = of.key(i);
      if (key == 0 || (known < 32 && (key >> known) != (d.key >> known))) continue;
      const std::uint32_t bin = (key >> shift) & (kChoiceBins - 1);
      const double weight = of.weight(i);
      for (int b = 0; b < kChoiceBins; ++b)  // a register each: no indexed writes
        if (bin == static_cast<std::uint32_t>(b)) bins[b] += weight;
    }
    block_sums<kChoiceBins>(bins, scratch);
    std::uint32_t chosen = 0;
    bool found = false;
    double above = d.above;
    for (int b = kChoiceBins - 1; b >= 0; --b) {
      if (found) continue;
      if (above + bins[b] >= target || b == 0) {
        chosen = static_cast<std::uint32_t>(b);
        d.at = bins[b];
        found = true;
      } else {
        above += bins[b];
      }
    }
    d.above = above;
    d.key |= chosen << shift;
  }
  return d;
}

// The cut after the shortest prefix of the order whose weight reaches the target; at least one id stays.
// `one`: the weight of one id at the edge.
template <class Weighed>
LEADLINE_DEVICE Cut cut_at(const Weighed& of, std::int32_t count, double target, double* scratch) {
  const Descent d = descend(of, count, target, scratch);
  Cut cut{value_of_key(d.key), 0x7fffffff};
  double equal[1] = {0};
  for (std::int32_t i = thread_index(); i < count; i += kChoiceThreads)
    if (of.key(i) == d.key) equal[0] += 1.0;
  block_sums<1>(equal, scratch);
  if (equal[0] <= 1.0) return cut;
  const double one = d.at / equal[0];
  double needed = 1;
  while (needed < equal[0] && d.above + needed * one < target) {
    // The quotient is near; the loop settles what rounding leaves.
    const double guess = one > 0 ? round_down((target - d.above) / one) : equal[0];
    needed = guess > needed ? (guess < equal[0] ? guess : equal[0]) : needed + 1;
  }
  if (needed >= equal[0]) return cut;
  const Descent id = descend(IdsOfOneValue<Weighed>{of, d.key}, count, needed, scratch);
  cut.last = static_cast<std::int32_t>(0x80000000u - id.key);
  return cut;
}

LEADLINE_DEVICE float finite_logit(float before, double after) {
  if (before == minus_infinity()) return before;
  if (after > kLargestFloat) return kLargestFloat;
  if (after < -static_cast<double>(kLargestFloat)) return -kLargestFloat;
  return static_cast<float>(after);
}

LEADLINE_DEVICE float edited(float logit, const LogitEdit& edit, const TokenChoiceRow& row) {
  if (edit.kind == LogitEdit::ban) return minus_infinity();
  if (edit.kind == LogitEdit::add)
    return edit.value == minus_infinity() ? minus_infinity()
                                          : finite_logit(logit, static_cast<double>(logit) + edit.value);
  double l = logit;
  if (row.repetition != 1.0f) l = l > 0 ? l / row.repetition : l * row.repetition;
  if (edit.count > 0) l = l - static_cast<double>(row.frequency) * edit.count - row.presence;
  return finite_logit(logit, l);
}

// The working copy: masked ids and NaN absent, the rest finite.
LEADLINE_DEVICE void mask_logits(const ChooseArgs& a, const TokenChoiceRow& row, float* to,
                                 std::int32_t count) {
  const float* from = a.logits + static_cast<std::int64_t>(row.logit_row) * a.stride;
  for (std::int32_t i = thread_index(); i < count; i += kChoiceThreads) {
    const float l = from[i];
    to[i] = l == l ? (l < kLargestFloat ? l : kLargestFloat) : minus_infinity();
  }
  block_barrier();
}

// A thread for each id.
LEADLINE_DEVICE void edit_logits(const ChooseArgs& a, const TokenChoiceRow& row, float* to,
                                 std::int32_t count) {
  const LogitEdit* edits = a.edits + row.first_edit;
  for (std::int32_t e = thread_index(); e < row.edits; e += kChoiceThreads) {
    const std::int32_t id = edits[e].id;
    if (id < 0 || id >= count || (e > 0 && edits[e - 1].id == id)) continue;
    float l = to[id];
    for (std::int32_t next = e; next < row.edits && edits[next].id == id; ++next)
      l = edited(l, edits[next], row);
    to[id] = l;
  }
  block_barrier();
}

// Word `id` % 4 of each: four ids from one call.
LEADLINE_DEVICE void philox_words(std::uint64_t seed, std::uint64_t position, std::uint32_t quad,
                                  std::uint32_t* w) {
  auto k0 = static_cast<std::uint32_t>(seed), k1 = static_cast<std::uint32_t>(seed >> 32);
  w[0] = quad;
  w[1] = static_cast<std::uint32_t>(position);
  w[2] = static_cast<std::uint32_t>(position >> 32);
  w[3] = 0;
  for (int round = 0; round < 10; ++round, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * w[0], p1 = std::uint64_t{0xCD9E8D57u} * w[2];
    w[0] = static_cast<std::uint32_t>(p1 >> 32) ^ w[1] ^ k0;
    w[2] = static_cast<std::uint32_t>(p0 >> 32) ^ w[3] ^ k1;
    w[1] = static_cast<std::uint32_t>(p1);
    w[3] = static_cast<std::uint32_t>(p0);
  }
}

LEADLINE_DEVICE std::int32_t noisy_argmax(const ChoiceRow& row, const TokenChoiceRow& asked, const Cut& k,
                                          const Cut& p, double* scratch) {
  Candidate best{0, -1};
  for (std::int32_t first = thread_index() * 4; first < row.count; first += kChoiceThreads * 4) {
    std::uint32_t words[4];
    bool made = false;
    for (std::int32_t i = first; i < first + 4 && i < row.count; ++i) {
      if (row.logits[i] == minus_infinity()) continue;
      const float x = row.warped(i);
      if (!k.keeps(x, i) || !p.keeps(x, i) || (asked.min_p_edge <= 0 && x < asked.min_p_edge)) continue;
      if (!made) philox_words(asked.seed, asked.position, static_cast<std::uint32_t>(first / 4), words);
      made = true;
      const double u = (static_cast<double>(words[i % 4]) + 0.5) * 0x1p-32;
      const auto noise = static_cast<float>(-logarithm(-logarithm(u)));
      take_better(best, static_cast<double>(x) + noise, i);
    }
  }
  return block_best(best, scratch).id;
}

// Top-k and top-p as cuts, then the argmax.
LEADLINE_DEVICE std::int32_t sample_row(const ChoiceRow& row, const TokenChoiceRow& asked, double* scratch) {
  Cut k{minus_infinity(), 0x7fffffff}, p = k;
  if (asked.top_k > 0 && asked.top_k < row.count) {
    double present[1] = {0};
    for (std::int32_t i = thread_index(); i < row.count; i += kChoiceThreads)
      if (row.logits[i] != minus_infinity()) present[0] += 1.0;
    block_sums<1>(present, scratch);
    if (present[0] > asked.top_k) k = cut_at(CountedValues{row}, row.count, asked.top_k, scratch);
  }
  if (asked.top_p < 1.0f) {
    const MassOfValues mass{row, k};
    double total[1] = {0};
    for (std::int32_t i = thread_index(); i < row.count; i += kChoiceThreads)
      if (mass.key(i) != 0) total[0] += mass.weight(i);
    block_sums<1>(total, scratch);
    const double target = static_cast<double>(asked.top_p) * total[0];
    p = cut_at(mass, row.count, target > 1e-300 ? target : 1e-300, scratch);
  }
  return noisy_argmax(row, asked, k, p, scratch);
}

// The next id in the order after `before` (id -1: the first), its value as the score.
LEADLINE_DEVICE Candidate next_in_order(const ChoiceRow& row, Candidate before, double* scratch) {
  Candidate next{0, -1};
  for (std::int32_t i = thread_index(); i < row.count; i += kChoiceThreads) {
    const float l = row.logits[i];
    if (l == minus_infinity()) continue;
    if (before.id >= 0 && (l > before.score || (l == before.score && i <= before.id))) continue;
    take_better(next, l, i);
  }
  return block_best(next, scratch);
}

// What the row's distribution says before edits; the drawn token's logit follows at the end.
LEADLINE_DEVICE void probe_row(const ChoiceRow& row, TokenChoice& out, double* scratch) {
  Candidate top{0, -1};
  bool more = true;
  float first = minus_infinity();
  for (int k = 0; k < kProbeTop; ++k) {
    if (more) top = next_in_order(row, top, scratch);
    more = more && top.id >= 0;
    const float value = more ? static_cast<float>(top.score) : minus_infinity();
    if (k == 0) first = value;
    if (thread_index() == 0) out.probe_top[k] = value;
  }
  double sums[2] = {0, 0};
  for (std::int32_t i = thread_index(); i < row.count; i += kChoiceThreads) {
    const float x = row.logits[i] - first;
    if (!(x > -80.0f)) continue;
    const float e = exponential(x);
    sums[0] += e;
    sums[1] += static_cast<double>(x) * e;
  }
  block_sums<2>(sums, scratch);
  if (thread_index() == 0) out.mass = sums[0], out.weighted = sums[1];
}

// The likeliest ids and their logprobs, one after the other.
LEADLINE_DEVICE void list_tops(const ChoiceRow& row, double log_sum, std::int32_t wanted, TokenChoice& out,
                               double* scratch) {
  Candidate before{0, -1};
  std::int32_t found = 0;
  for (; found < wanted && found < kMaxChoiceTop; ++found) {
    before = next_in_order(row, before, scratch);
    if (before.id < 0) break;
    if (thread_index() == 0) {
      out.top_ids[found] = before.id;
      out.top_logprobs[found] = static_cast<float>(before.score - row.top - log_sum);
    }
  }
  if (thread_index() == 0) out.tops = found;
}

// Grid: x over rows. Shared: kChoiceBins * kChoiceWarps doubles.
LEADLINE_DEVICE void choose_token(const ChooseArgs& a) {
  const TokenChoiceRow asked = a.rows[block_x()];
  TokenChoice& out = a.out[block_x()];
  auto* scratch = reinterpret_cast<double*>(shared_floats());
  const std::int32_t count = asked.allowed_vocab < a.vocab ? asked.allowed_vocab : a.vocab;
  float* logits = a.work + static_cast<std::int64_t>(block_x()) * a.vocab;
  mask_logits(a, asked, logits, count);
  ChoiceRow row{logits, count, 0.0f, asked.temperature};
  if (asked.probe != 0) probe_row(row, out, scratch);
  edit_logits(a, asked, logits, count);
  Candidate likeliest{0, -1};
  for (std::int32_t i = thread_index(); i < count; i += kChoiceThreads)
    if (logits[i] != minus_infinity()) take_better(likeliest, logits[i], i);
  likeliest = block_best(likeliest, scratch);
  if (thread_index() == 0) out.token = 0, out.tops = 0, out.logprob = 0, out.no_candidate = likeliest.id < 0;
  if (likeliest.id < 0) return;
  row.top = static_cast<float>(likeliest.score);
  if (row.temperature > kLargestFloat) row.temperature = kLargestFloat;
  double log_sum = 0;
  if (asked.top_logprobs >= 0) {
    double sum[1] = {0};
    for (std::int32_t i = thread_index(); i < count; i += kChoiceThreads)
      sum[0] += choice_exp(logits[i] - row.top);
    block_sums<1>(sum, scratch);
    log_sum = logarithm(sum[0]);
    list_tops(row, log_sum, asked.top_logprobs, out, scratch);
  }
  const std::int32_t token = asked.temperature > 0 ? sample_row(row, asked, scratch) : likeliest.id;
  if (thread_index() != 0) return;
  out.token = token;
  out.drawn = a.logits[static_cast<std::int64_t>(asked.logit_row) * a.stride + token];
  if (asked.top_logprobs >= 0)
    out.logprob = static_cast<float>(static_cast<double>(logits[token]) - row.top - log_sum);
}

}  // namespace leadline::worker::cuda
