#include "deploy/cli/lone_model.h"

#include <numeric>

namespace leadline::deploy {

using worker::Result;

Result<void> LoneModel::read_config(const std::string& model_directory) {
  auto read = worker::ModelConfig::load(model_directory);
  if (!read) return tl::unexpected(read.error());
  config = std::move(*read);
  return {};
}

Result<void> LoneModel::load(const worker::TransformerOptions& load, int threads) {
  worker::BackendOptions wanted;
  wanted.device = "cpu";
  wanted.threads = threads;
  auto made = worker::make_backend(wanted);
  if (!made) return tl::unexpected(made.error());
  backend = std::move(*made);
  auto model = worker::Transformer::load(config, load, *backend, ranks);
  if (!model) return tl::unexpected(model.error());
  transformer = std::move(*model);
  return {};
}

Result<void> LoneModel::make_pages(std::uint32_t count) {
  pages.resize(count);
  std::iota(pages.begin(), pages.end(), 0U);
  auto made = backend->allocate_kv(
      {count * units_per_page(), config.head_dim, worker::DType::bf16, units_per_page()});
  if (!made) return tl::unexpected(made.error());
  pool = std::move(*made);
  return {};
}

}  // namespace leadline::deploy
