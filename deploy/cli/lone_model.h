#pragma once
// LoneModel: a checkpoint on this machine's CPU in this process, one rank, no server: what `policy costs` and
// `policy trace` run. Not the benchmark's engine (engine_bench), which may have no checkpoint and times its
// ops. Thread: main; the backend has its own pool.
// Invariant: page p of `pages` has the units [p * units_per_page(), (p + 1) * units_per_page()).

#include <memory>
#include <vector>

#include "transport/collective/identity_communicator.h"
#include "worker/model/transformer.h"

namespace leadline::deploy {

struct LoneModel {
  worker::ModelConfig config;
  std::unique_ptr<worker::Backend> backend;
  transport::IdentityCommunicator ranks;
  std::unique_ptr<worker::KvPool> pool;
  std::unique_ptr<worker::Transformer> transformer;
  std::vector<std::uint32_t> pages;  // 0, 1, ...

  // threads: 0 = all cores. load.model_directory names the checkpoint; config is read from it first.
  worker::Result<void> read_config(const std::string& model_directory);
  worker::Result<void> load(const worker::TransformerOptions& load, int threads);
  // bf16 pages. REQUIRES: loaded.
  worker::Result<void> make_pages(std::uint32_t count);
  [[nodiscard]] std::uint32_t units_per_page() const {
    return static_cast<std::uint32_t>(config.layers * config.kv_heads);
  }
};

// Pages that hold `slots`.
inline std::uint32_t pages_of(int slots) {
  return (static_cast<std::uint32_t>(slots) + worker::kPageTokens - 1) / worker::kPageTokens;
}

}  // namespace leadline::deploy
