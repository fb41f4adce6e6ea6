#pragma once
// Scorers: importance of every slot of a head from what the taps show; higher is better. Not a choice
// (selector.h). Thread: pure; f32, one order of sums.

#include <cstdint>
#include <span>

#include "worker/compression/compression_policy.h"

namespace leadline::worker {

// By lot: a hash of (seed, layer, head, slot).
void score_random(const HeadInput& head, const CompressionParams& params, std::span<float> scores);

// H2O (2306.14048, section 3): attention that the slot got from all queries.
void score_columns(const HeadInput& head, const CompressionParams& params, std::span<float> scores);

// SnapKV (2404.14469, section 4.1): attention from the observation window, mean of five neighbours.
void score_window_pooled(const HeadInput& head, const CompressionParams& params, std::span<float> scores);

// WindowKV (2503.17922, section 3.2): every slot has the score of its review window of kReviewWindow slots:
// the mean of all (aggregation), or of the half that scores highest (localisation).
inline constexpr std::uint32_t kReviewWindow = 8;
void score_review_windows(const HeadInput& head, const CompressionParams& params, std::span<float> scores);

// KeyDiff (2504.15364, equation 5): minus the cosine of the key and the mean of all unit keys.
void score_key_difference(const HeadInput& head, const CompressionParams& params, std::span<float> scores);

// sum a[i] * b[i], in one order that compilers vectorise alike.
float dot(const float* a, const float* b, std::uint32_t n);

}  // namespace leadline::worker
