#include "worker/runtime/policy_text.h"

#include <charconv>
#include <string_view>
#include <vector>

#include "policy/fixed_policy.h"

namespace leadline::worker {
namespace {

using Made = Result<std::shared_ptr<const policy::ExitPolicy>>;

tl::unexpected<Error> refuse(const std::string& text, const std::string& why) {
  return monitoring::fail(Errc::configuration, "--speculation " + text + ": " + why +
                                                   "; off, static:E,K and threshold:E,K,T are possible");
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

}  // namespace

Made policy_from_text(const std::string& text) {
  if (text == "off") return Made(policy::make_off_policy());
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
