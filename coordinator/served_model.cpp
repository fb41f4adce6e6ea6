#include "coordinator/served_model.h"

#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

namespace leadline::coordinator {

namespace {

using nlohmann::json;

Result<json> read_json(const std::string& path, bool required) {
  std::ifstream in(path);
  if (!in) {
    if (required) return fail(Errc::io, "cannot read " + path);
    return json::object();
  }
  json value = json::parse(in, nullptr, false);
  if (value.is_discarded() || !value.is_object()) {
    return fail(Errc::malformed_file, path + " is not a JSON object");
  }
  return value;
}

template <typename T>
void take_number(const json& object, const char* key, T& out) {
  const auto it = object.find(key);
  if (it != object.end() && it->is_number()) out = it->get<T>();
}

void take_token_ids(const json& object, std::vector<transport::TokenId>& out) {
  const auto it = object.find("eos_token_id");
  if (it == object.end()) return;
  std::vector<transport::TokenId> ids;
  if (it->is_number_integer()) ids.push_back(it->get<transport::TokenId>());
  if (it->is_array()) {
    for (const auto& id : *it) {
      if (id.is_number_integer()) ids.push_back(id.get<transport::TokenId>());
    }
  }
  if (!ids.empty()) out = std::move(ids);
}

SamplingDefaults defaults_of(const json& generation) {
  SamplingDefaults d;
  take_number(generation, "temperature", d.temperature);
  take_number(generation, "top_p", d.top_p);
  take_number(generation, "top_k", d.top_k);
  take_number(generation, "min_p", d.min_p);
  take_number(generation, "repetition_penalty", d.repetition_penalty);
  if (!(d.temperature >= 0.0F && d.temperature <= 2.0F)) d.temperature = 1.0F;
  if (!(d.top_p > 0.0F && d.top_p <= 1.0F)) d.top_p = 1.0F;
  if (!(d.min_p >= 0.0F && d.min_p < 1.0F)) d.min_p = 0.0F;
  if (!(d.repetition_penalty > 0.0F)) d.repetition_penalty = 1.0F;
  d.top_k = std::max(d.top_k, 0);
  return d;
}

}  // namespace

bool ServedModel::serves(const std::string& name) const {
  return std::find(names.begin(), names.end(), name) != names.end();
}

Result<ServedModel> load_served_model(const std::string& directory, std::vector<std::string> names,
                                      std::uint32_t max_model_len) {
  const std::string config_path = directory + "/config.json";
  auto config = read_json(config_path, true);
  if (!config) return tl::unexpected(config.error());
  auto generation = read_json(directory + "/generation_config.json", false);
  if (!generation) return tl::unexpected(generation.error());

  ServedModel model;
  model.names = std::move(names);
  if (model.names.empty()) {
    std::string base = directory;
    while (base.size() > 1 && base.back() == '/') base.pop_back();
    model.names.push_back(base.substr(base.rfind('/') + 1));
  }
  std::uint32_t own_length = 0;
  take_number(*config, "max_position_embeddings", own_length);
  take_number(*config, "vocab_size", model.vocab_size);
  if (own_length == 0)
    return fail(Errc::malformed_file, config_path + ": max_position_embeddings is missing");
  if (model.vocab_size == 0) return fail(Errc::malformed_file, config_path + ": vocab_size is missing");
  if (max_model_len > own_length) {
    return fail(Errc::configuration, "max-model-len " + std::to_string(max_model_len) +
                                         " is beyond the model's " + std::to_string(own_length));
  }
  model.max_model_len = max_model_len == 0 ? own_length : max_model_len;
  take_token_ids(*config, model.eos_ids);
  take_token_ids(*generation, model.eos_ids);
  model.defaults = defaults_of(*generation);
  struct stat info {};
  if (::stat(config_path.c_str(), &info) == 0) model.created_unix_s = info.st_mtime;
  return model;
}

}  // namespace leadline::coordinator
