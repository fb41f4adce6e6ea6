#include "worker/runtime/weight_cache.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "monitoring/log.h"
#include "worker/model/packed_cache.h"

namespace leadline::worker {
namespace {

constexpr std::int64_t kAutoLeastBytes = std::int64_t{64} << 20;

std::string cache_home() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && *cache == '/')
    return std::string(cache) + "/leadline";
  const char* home = std::getenv("HOME");
  return home != nullptr && *home == '/' ? std::string(home) + "/.cache/leadline" : std::string();
}

}  // namespace

void keep_packed_weights(const WorkerConfig& config, TransformerOptions& load) {
  std::error_code error;
  const auto canonical = std::filesystem::weakly_canonical(config.model_directory, error);
  const std::string model = error ? config.model_directory : canonical.string();
  const bool writable = ::access(model.c_str(), W_OK) == 0;
  load.packed_directory = packed_directory(config.weight_cache, model, writable, cache_home());
  load.packed_least_bytes = config.weight_cache == "auto" ? kAutoLeastBytes : 0;
  load.log = [](std::string_view line) { monitoring::log_info("weights", {{"says", line}}); };
}

}  // namespace leadline::worker
