#include "worker/runtime/policy_text.h"

#include <charconv>
#include <filesystem>
#include <string_view>
#include <vector>

#include "policy/del_policy.h"
#include "policy/fixed_policy.h"
#include "policy/learned_policy.h"

namespace leadline::worker {
namespace {

using Made = Result<std::shared_ptr<const policy::ExitPolicy>>;

tl::unexpected<Error> refuse(const std::string& text, const std::string& why) {
  return monitoring::fail(Errc::configuration,
                          "--speculation " + text + ": " + why +
                              "; auto, off, static:E,K, threshold:E,K,T, del and file:PATH are possible");
}

std::vector<std::string_view> split(std::string_view text) {
  std::vector<std::string_view> parts;
  while (true) {
    const std::size_t comma = text.find(',');
    parts.push_back(text.substr(0, comma));
    if (comma == std::string_view::npos) return parts;
    text.remove_prefix(comma + 1);
  }
}

template <typename T>
bool read(std::string_view text, T& out, T low, T high) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size() && out >= low && out <= high;
}

Made from_file(const std::string& text, const std::string& path, const PolicySource& source) {
  auto file = policy::load_policy(path);
  if (!file) return refuse(text, path + ": " + file.error().message);
  policy::ServedModel model = source.model;
  if (file->model_identity == source.fingerprint) model.identity = source.fingerprint;
  if (auto fits = policy::check_model(*file, model); !fits)
    return refuse(text, path + ": " + fits.error().message);
  return Made(policy::make_learned_policy(std::move(file->model)));
}

// The first by name; "": none.
std::string file_beside(const std::string& directory) {
  std::error_code error;
  std::string first;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("exit_policy.") && entry.is_regular_file(error) &&
        (first.empty() || entry.path().string() < first))
      first = entry.path().string();
  }
  return first;
}

}  // namespace

std::vector<std::int32_t> exits_of_policy(const std::string& text, const std::string& model_directory,
                                          std::int32_t layers) {
  const bool named = text.starts_with("file:");
  if (!named && text != "auto") return {};
  const auto file = policy::load_policy(named ? text.substr(5) : file_beside(model_directory));
  if (!file || file->model.layers != layers) return {};
  return file->model.exits;
}

Made policy_from_text(const std::string& text, const PolicySource& source) {
  if (text == "off") return Made(policy::make_off_policy());
  if (text == "del" && !source.shadows)
    return refuse(text, "with --draft-ranks no rank sees what every exit says");
  if (text == "del") return Made(policy::make_del_policy());
  if (text == "auto") {
    const std::string path = file_beside(source.model_directory);
    return path.empty() ? Made(policy::make_off_policy()) : from_file(text, path, source);
  }
  if (text.starts_with("file:")) return from_file(text, text.substr(5), source);
  const std::size_t colon = text.find(':');
  const std::string kind = text.substr(0, colon);
  const bool threshold = kind == "threshold";
  if (colon == std::string::npos || (kind != "static" && !threshold)) return refuse(text, "unknown policy");
  const std::vector<std::string_view> parts = split(std::string_view(text).substr(colon + 1));
  if (parts.size() != (threshold ? 3U : 2U))
    return refuse(text, "has " + std::to_string(parts.size()) + " numbers");
  std::int32_t exit = 0, drafts = 0;
  float least = 0;
  if (!read(parts[0], exit, 1, 1024)) return refuse(text, "E is not a layer");
  if (!read(parts[1], drafts, 1, policy::kMaxDraft))
    return refuse(text, "K is not in [1, " + std::to_string(policy::kMaxDraft) + "]");
  if (!threshold) return Made(policy::make_static_policy(exit, drafts));
  if (!read(parts[2], least, 0.0F, 1.0F)) return refuse(text, "T is not in [0, 1]");
  return Made(policy::make_threshold_policy({.exit = exit, .max_draft = drafts, .threshold = least}));
}

}  // namespace leadline::worker
