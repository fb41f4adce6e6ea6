#include "deploy/cli/worker_metrics_text.h"

#include <algorithm>
#include <charconv>

namespace leadline::deploy {
namespace {

// The value of `label` in a series' text; "" without it.
std::string_view label_of(std::string_view series, std::string_view label) {
  const std::string open = std::string(label) + "=\"";
  const std::size_t at = series.find(open);
  if (at == std::string_view::npos) return {};
  const std::size_t from = at + open.size();
  return series.substr(from, series.find('"', from) - from);
}

}  // namespace

void read_worker_metrics(std::string_view text, WorkerFacts& facts) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::size_t blank = line.rfind(' ');
    if (line.starts_with('#') || blank == std::string_view::npos) continue;
    const std::string_view series = line.substr(0, blank), number = line.substr(blank + 1);
    double value = 0;
    if (std::from_chars(number.data(), number.data() + number.size(), value).ec != std::errc()) continue;
    if (series.starts_with("leadline_build_info{")) facts.version = label_of(series, "version");
    if (series.starts_with("leadline_step_age_seconds")) facts.step_age_s = value;
    if (!series.starts_with("leadline_kv_tier_state{") || value != 1 || label_of(series, "state") == "ok")
      continue;
    facts.tiers.push_back(std::string(label_of(series, "tier")) + " " +
                          std::string(label_of(series, "state")));
  }
}

}  // namespace leadline::deploy
