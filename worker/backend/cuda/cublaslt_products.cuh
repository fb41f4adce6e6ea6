#pragma once
// CublasLtProducts: Product on cuBLASLt, with the algorithm pinned per (class, n, k, slices, format): what
// the heuristics choose at the class's reference row count serves all its row counts, so that a row's bits do
// not depend on how many rows are multiplied (X1, named exception in X2: two classes). Split-K is refused:
// its reduction order is not ours. Not a cast and not a scale (cuda_products.cpp). Thread: one owner.

#include <cublasLt.h>
#include <cuda_runtime.h>

#include <map>
#include <tuple>

#include "worker/backend/cuda/runtime.h"

namespace leadline::worker::cuda {

class CublasLtProducts {
 public:
  CublasLtProducts(int major, int minor);
  ~CublasLtProducts();
  CublasLtProducts(const CublasLtProducts&) = delete;
  CublasLtProducts& operator=(const CublasLtProducts&) = delete;

  void multiply(const Product& product, cudaStream_t stream);
  [[nodiscard]] bool has_fp8() const { return has_fp8_; }

 private:
  using Key = std::tuple<std::int32_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t, std::int32_t>;
  const cublasLtMatmulAlgo_t& pinned(const Product& product, cublasLtMatmulDesc_t description);

  cublasLtHandle_t handle_ = nullptr;
  void* workspace_ = nullptr;
  const bool has_fp8_;
  std::map<Key, cublasLtMatmulAlgo_t> pinned_;
};

// Rows at which a class's algorithm is chosen.
constexpr std::int64_t kReferenceRows[] = {512, 16};  // prefill, decode
constexpr std::size_t kWorkspaceBytes = std::size_t{32} << 20;

}  // namespace leadline::worker::cuda
