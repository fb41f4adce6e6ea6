#include "kvstore/replay/chat_trace.h"

#include <algorithm>
#include <cmath>
#include <random>

namespace leadline::kvstore {
namespace {

std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  std::uint64_t z = a * 0x9E3779B97F4A7C15ULL + b + 0x632BE59BD9B4E019ULL;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  return (z ^ (z >> 27)) * 0x94D049BB133111EBULL ^ (z >> 31);
}

struct Turn {
  double time_s;
  std::vector<std::uint64_t> chain;  // keys that the request needs, then those that it computes
  std::size_t known;                 // of them, looked for (the prompt); the rest are only put (the answer)
};

class Sessions {
 public:
  explicit Sessions(const ChatTraceOptions& o) : o_(o), rng_(o.seed) {
    double sum = 0;
    for (int i = 1; i <= o.system_prompts; ++i) zipf_.push_back(sum += std::pow(i, -o.zipf));
  }

  std::vector<Turn> run() {
    std::exponential_distribution<double> arrival(o_.sessions_per_s);
    for (double t = arrival(rng_); t < o_.seconds; t += arrival(rng_)) {
      if (uniform() < o_.one_off_share)
        document(t);
      else
        session(t);
    }
    batch_job();
    std::stable_sort(turns_.begin(), turns_.end(),
                     [](const Turn& a, const Turn& b) { return a.time_s < b.time_s; });
    return std::move(turns_);
  }

 private:
  double uniform() { return std::uniform_real_distribution<double>(0, 1)(rng_); }
  std::size_t blocks(double mean) {
    return 1 + static_cast<std::size_t>(std::exponential_distribution<double>(1 / mean)(rng_));
  }
  void grow(std::vector<std::uint64_t>& chain, std::size_t n, std::uint64_t salt) const {
    for (std::size_t i = 0; i < n; ++i) chain.push_back(mix(chain.empty() ? 0 : chain.back(), salt));
  }
  void document(double t) {
    std::vector<std::uint64_t> chain;
    grow(chain, blocks(o_.document_blocks_mean), ++session_ << 20);
    const std::size_t known = chain.size();
    turns_.push_back({t, std::move(chain), known});
  }
  void batch_job() {
    std::vector<std::size_t> lengths;
    for (int i = 0; i < o_.loop_documents; ++i) lengths.push_back(blocks(o_.document_blocks_mean));
    std::size_t next = 0;
    for (double t = o_.loop_gap_s; !lengths.empty() && t < o_.seconds; t += o_.loop_gap_s) {
      std::vector<std::uint64_t> chain;
      grow(chain, lengths[next], (std::uint64_t{1} << 60) + next);
      turns_.push_back({t, chain, chain.size()});
      next = (next + 1) % lengths.size();
    }
  }
  void session(double t) {
    const double draw = uniform() * zipf_.back();
    const auto prompt =
        static_cast<std::uint64_t>(std::lower_bound(zipf_.begin(), zipf_.end(), draw) - zipf_.begin());
    std::mt19937_64 of_prompt(o_.seed * 1000 + prompt);  // a system prompt has one length
    std::vector<std::uint64_t> chain;
    grow(chain,
         1 + static_cast<std::size_t>(
                 std::exponential_distribution<double>(1 / o_.system_blocks_mean)(of_prompt)),
         prompt + 1);
    const std::uint64_t salt = ++session_ << 20;
    std::lognormal_distribution<double> gap(std::log(o_.turn_gap_median_s), o_.turn_gap_sigma);
    for (std::uint64_t turn = 0; t < o_.seconds; ++turn) {
      grow(chain, blocks(o_.user_blocks_mean), salt + 2 * turn);
      const std::size_t known = chain.size();
      grow(chain, blocks(o_.answer_blocks_mean), salt + 2 * turn + 1);
      turns_.push_back({t, chain, known});
      if (uniform() < 1 / o_.turns_mean) break;
      t += gap(rng_);
    }
  }

  const ChatTraceOptions& o_;
  std::mt19937_64 rng_;
  std::vector<double> zipf_;
  std::vector<Turn> turns_;
  std::uint64_t session_ = 0;
};

}  // namespace

std::optional<ChatTraceOptions> workload(std::string_view name) {
  ChatTraceOptions o;
  if (name == "chat") return o;
  if (name == "prefixes") {
    o.one_off_share = 0.05;
    o.system_prompts = 400;
    o.zipf = 0.9;
    o.system_blocks_mean = 80;
    o.turns_mean = 1.2;
    o.user_blocks_mean = 3;
    o.answer_blocks_mean = 6;
    return o;
  }
  if (name == "scans") {
    o.one_off_share = 0.6;
    o.document_blocks_mean = 250;
    return o;
  }
  if (name == "loop") {
    o.loop_documents = 60;
    return o;
  }
  return std::nullopt;
}

std::vector<AccessRecord> chat_trace(const ChatTraceOptions& options) {
  std::vector<AccessRecord> records;
  std::uint32_t request = 0;
  for (const Turn& turn : Sessions(options).run()) {
    ++request;
    for (int pass = 0; pass < 2; ++pass)
      for (std::size_t i = 0; i < (pass == 0 ? turn.known : turn.chain.size()); ++i) {
        AccessRecord r;
        r.time_s = turn.time_s + (pass == 0 ? 0.0 : 1.0);
        r.key = turn.chain[i];
        r.parent = i == 0 ? 0 : turn.chain[i - 1];
        r.request = request;
        r.depth = static_cast<std::uint32_t>(i);
        r.bytes = static_cast<std::uint32_t>(options.block_bytes *
                                             (0.8 + 0.4 * static_cast<double>(r.key % 1024) / 1024));
        r.cost_s = static_cast<float>(options.cost_per_block_s * (1 + static_cast<double>(i) / 1000));
        r.access = pass == 0 ? Access::look : Access::put;
        if (pass == 0 || i >= turn.known) records.push_back(r);
      }
  }
  std::stable_sort(records.begin(), records.end(),
                   [](const AccessRecord& a, const AccessRecord& b) { return a.time_s < b.time_s; });
  return records;
}

}  // namespace leadline::kvstore
