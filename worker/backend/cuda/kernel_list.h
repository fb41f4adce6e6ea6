#pragma once
// The complete list of kernels: name, argument struct, device function, threads per block. Not geometry
// (kernel_select). Included by the device table (device_table.cu) and by the emulated one (emulator), so that
// both run the same functions.

// X(name, Args, device function, threads)
#define LEADLINE_CUDA_ROW_KERNELS(X)                     \
  X(embed, EmbedArgs, embed_rows, 256)                   \
  X(rms_norm, RmsNormArgs, rms_norm_row, 256)            \
  X(cast, CastArgs, cast_rows, 256)                      \
  X(tree_sum, TreeSumArgs, tree_sum_rows, 256)           \
  X(epilogue, EpilogueArgs, epilogue_rows, 256)          \
  X(silu_mul, SiluMulArgs, silu_mul_rows, 256)           \
  X(gather_rows, GatherRowsArgs, gather_rows_of, 256)    \
  X(int4_product, Int4ProductArgs, int4_product, 128)    \
  X(widen_weights, WidenWeightsArgs, widen_weights, 256) \
  X(logit_features, FeaturesArgs, logit_features, 256)   \
  X(choose_token, ChooseArgs, choose_token, 512)

#define LEADLINE_CUDA_KV_KERNELS(X)                   \
  X(rope_write_kv, RopeArgs, rope_write_kv, 128)      \
  X(attention_merge, MergeArgs, attention_merge, 128) \
  LEADLINE_CUDA_ATTENTION_OF(X, f32, FloatPage)       \
  LEADLINE_CUDA_ATTENTION_OF(X, bf16, Bf16Page)       \
  LEADLINE_CUDA_ATTENTION_OF(X, f16, HalfPage)        \
  LEADLINE_CUDA_ATTENTION_OF(X, i8, Int8Page)         \
  LEADLINE_CUDA_ATTENTION_OF(X, fp8, Fp8Page)

// One per page format and number of query vectors that share a walk; the number changes no bit.
#define LEADLINE_CUDA_ATTENTION_OF(X, format, Page)                        \
  X(attention_##format##_1, AttentionArgs, (attention_walk<Page, 1>), 128) \
  X(attention_##format##_2, AttentionArgs, (attention_walk<Page, 2>), 128) \
  X(attention_##format##_4, AttentionArgs, (attention_walk<Page, 4>), 128) \
  X(attention_##format##_8, AttentionArgs, (attention_walk<Page, 8>), 128)

// Prompt rows on the matrix units, by page format and head size.
#define LEADLINE_CUDA_PREFILL_KERNELS(X)                                                \
  X(attention_prefill_bf16_64, AttentionArgs, (attention_prefill<Bf16Page, 64>), 128)   \
  X(attention_prefill_bf16_128, AttentionArgs, (attention_prefill<Bf16Page, 128>), 128) \
  X(attention_prefill_i8_64, AttentionArgs, (attention_prefill<Int8Page, 64>), 128)     \
  X(attention_prefill_i8_128, AttentionArgs, (attention_prefill<Int8Page, 128>), 128)   \
  X(attention_prefill_fp8_64, AttentionArgs, (attention_prefill<Fp8Page, 64>), 128)     \
  X(attention_prefill_fp8_128, AttentionArgs, (attention_prefill<Fp8Page, 128>), 128)

#define LEADLINE_CUDA_KERNELS(X) \
  LEADLINE_CUDA_ROW_KERNELS(X)   \
  LEADLINE_CUDA_KV_KERNELS(X)    \
  LEADLINE_CUDA_PREFILL_KERNELS(X)

namespace leadline::worker::cuda {

#define LEADLINE_CUDA_NAME(name, Args, function, threads) name,
enum class KernelId { LEADLINE_CUDA_KERNELS(LEADLINE_CUDA_NAME) count };
#undef LEADLINE_CUDA_NAME

}  // namespace leadline::worker::cuda
