// CudaBackend's choice of tokens and features of logits: rows and edits go to the device as one image, what
// was chosen comes back in one small copy. (cuda_backend.cpp has the rest.)

#include <cstring>

#include "monitoring/check.h"
#include "worker/backend/cuda/cuda_backend.h"

namespace leadline::worker::cuda {

namespace {

constexpr std::int64_t kChoiceSharedBytes =
    std::int64_t{8} * (kChoiceThreads / 32) * 8;  // bins x warps doubles

}  // namespace

bool CudaBackend::choose_tokens(ConstFloatMatrix logits, std::span<const TokenChoiceRow> rows,
                                std::span<const LogitEdit> edits, std::span<TokenChoice> out) {
  LEADLINE_CHECK(out.size() == rows.size(), "choose_tokens: a choice for every row");
  if (rows.empty()) return true;
  const std::size_t rows_bytes = rows.size_bytes();
  std::vector<std::byte> image(rows_bytes + edits.size_bytes());
  std::int64_t next_edit = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    TokenChoiceRow row = rows[i];
    LEADLINE_CHECK(row.logit_row >= 0 && row.logit_row < logits.rows && row.edits >= 0 &&
                       row.edits <= kMaxChoiceEdits && row.top_logprobs <= kMaxChoiceTop,
                   "choose_tokens: a row beyond the limits");
    row.first_edit = static_cast<std::int32_t>(next_edit);
    next_edit += row.edits;
    std::memcpy(image.data() + i * sizeof row, &row, sizeof row);
  }
  LEADLINE_CHECK(next_edit == static_cast<std::int64_t>(edits.size()), "choose_tokens: edits");
  if (!edits.empty()) std::memcpy(image.data() + rows_bytes, edits.data(), edits.size_bytes());
  const auto* sent =
      static_cast<const std::byte*>(send(choices_, image.data(), static_cast<std::int64_t>(image.size())));
  const auto count = static_cast<std::int64_t>(rows.size());
  ChooseArgs args{};
  args.logits = logits.data;
  args.work = static_cast<float*>(grow(choice_work_, count * logits.cols * 4));
  args.rows = reinterpret_cast<const TokenChoiceRow*>(sent);
  args.edits = reinterpret_cast<const LogitEdit*>(sent + rows_bytes);
  args.out = static_cast<TokenChoice*>(grow(choices_made_, static_cast<std::int64_t>(out.size_bytes())));
  args.stride = logits.row_stride;
  args.vocab = static_cast<std::int32_t>(logits.cols);
  launch(KernelId::choose_token, {count, 1, 1}, args, "sampling", kChoiceSharedBytes);
  download(out.data(), args.out, static_cast<std::int64_t>(out.size_bytes()));
  return true;
}

void CudaBackend::features(ConstFloatMatrix logits, std::int32_t vocab, std::span<LogitFeatures> out) {
  LEADLINE_CHECK(static_cast<std::int64_t>(out.size()) == logits.rows && vocab > 0 && vocab <= logits.cols,
                 "features: shapes");
  const auto bytes = static_cast<std::int64_t>(out.size_bytes());
  auto* device = static_cast<LogitFeatures*>(grow(features_, bytes));
  const FeaturesArgs args{logits.data, device, logits.row_stride, static_cast<std::int32_t>(logits.rows),
                          vocab};
  launch(KernelId::logit_features, {logits.rows, 1, 1}, args, "features", (32 + 256 * 2 * kFeatureTop) * 4);
  download(out.data(), device, bytes);
}

}  // namespace leadline::worker::cuda
