#include "transport/control/codec_rules.h"

#include <cmath>

#include "transport/control/codec.h"

namespace leadline::transport {

namespace {

// Collects the first rule that is broken.
class Rules {
 public:
  Rules& at_most(const char* field, std::size_t count, std::size_t limit) {
    if (first_ && count > limit) {
      first_ = monitoring::fail(Errc::too_large, std::string(field) + ": " + std::to_string(count) +
                                                     ", limit " + std::to_string(limit));
    }
    return *this;
  }
  template <typename T>
  Rules& require(bool holds, const char* field, T value) {
    if (first_ && !holds)
      first_ = monitoring::fail(Errc::malformed, std::string(field) + ": " + std::to_string(value));
    return *this;
  }
  // Written so that NaN breaks the rule.
  Rules& within(const char* field, float value, float low, float high) {
    return require(value >= low && value <= high, field, value);
  }
  Rules& tokens(const char* field, const std::vector<TokenId>& ids, std::size_t limit) {
    at_most(field, ids.size(), limit);
    for (std::size_t i = 0; first_ && i < ids.size(); ++i) require(ids[i] >= 0, field, ids[i]);
    return *this;
  }
  Rules& text(const char* field, const std::string& value, std::size_t limit = CodecLimits::kTextBytes) {
    return at_most(field, value.size(), limit);
  }
  Result<void> done() { return std::move(first_); }
  [[nodiscard]] bool hold() const { return first_.has_value(); }

 private:
  Result<void> first_;
};

constexpr float kMaxPenalty = 1e6F, kMaxBias = 1e6F;

void sampling_rules(Rules& rules, const SamplingSpec& s) {
  rules.within("sampling.temperature", s.temperature, 0, 100)
      .require(s.top_k >= 0, "sampling.top_k", s.top_k)
      .require(s.top_p > 0 && s.top_p <= 1, "sampling.top_p", s.top_p)
      .require(s.min_p >= 0 && s.min_p < 1, "sampling.min_p", s.min_p)
      .require(s.repetition_penalty > 0 && s.repetition_penalty <= kMaxPenalty, "sampling.repetition_penalty",
               s.repetition_penalty)
      .within("sampling.presence_penalty", s.presence_penalty, -kMaxPenalty, kMaxPenalty)
      .within("sampling.frequency_penalty", s.frequency_penalty, -kMaxPenalty, kMaxPenalty)
      .require(s.top_logprobs >= -1 && s.top_logprobs <= static_cast<std::int32_t>(CodecLimits::kTopLogprobs),
               "sampling.top_logprobs", s.top_logprobs)
      .at_most("sampling.logit_bias", s.logit_bias.size(), CodecLimits::kLogitBias);
  for (std::size_t i = 0; rules.hold() && i < s.logit_bias.size(); ++i) {
    rules.require(s.logit_bias[i].first >= 0, "sampling.logit_bias token", s.logit_bias[i].first)
        .within("sampling.logit_bias", s.logit_bias[i].second, -kMaxBias, kMaxBias);
  }
}

}  // namespace

// The version is the handshake's to judge, so that it can say why it refuses.
Result<void> check_rules(const Hello& m) {
  return Rules().text("Hello.model_fingerprint", m.model_fingerprint).done();
}

Result<void> check_rules(const Welcome& m) {
  return Rules()
      .text("Welcome.model_fingerprint", m.model_fingerprint)
      .text("Welcome.served_model_name", m.served_model_name)
      .done();
}

Result<void> check_rules(const Confirm&) {
  return {};
}
Result<void> check_rules(const Refusal& m) {
  return Rules().text("Refusal.reason", m.reason).done();
}
Result<void> check_rules(const Ping&) {
  return {};
}
Result<void> check_rules(const Pong&) {
  return {};
}

Result<void> check_rules(const Generate& m) {
  Rules rules;
  rules.text("Generate.trace_id", m.trace_id, CodecLimits::kTraceIdBytes)
      .tokens("Generate.prompt", m.prompt, CodecLimits::kPromptTokens)
      .tokens("Generate.generated", m.generated, CodecLimits::kPromptTokens)
      .tokens("Generate.stop_token_ids", m.stop_token_ids, CodecLimits::kStopTokenIds)
      .require(!m.prompt.empty(), "Generate.prompt size", m.prompt.size())
      .tokens("Generate.banned_ids", m.banned_ids, CodecLimits::kBannedIds)
      .require(m.max_tokens > 0, "Generate.max_tokens", m.max_tokens)
      .text("Generate.kv.compression", m.kv.compression, CodecLimits::kMethodNameBytes)
      .within("Generate.kv.budget", m.kv.budget, 0, 1)
      .within("Generate.kv.threshold", m.kv.threshold.value_or(0), -1, 1)
      .require(m.kv.pinned_prefix <= m.prompt.size(), "Generate.kv.pinned_prefix", m.kv.pinned_prefix);
  sampling_rules(rules, m.sampling);
  return rules.done();
}

Result<void> check_rules(const Cancel&) {
  return {};
}
Result<void> check_rules(const Drain&) {
  return {};
}

Result<void> check_rules(const TokenBatch& m) {
  Rules rules;
  rules.at_most("TokenBatch.tokens", m.tokens.size(), CodecLimits::kBatchTokens)
      .require(m.tokens.size() <= UINT32_MAX - m.first_index, "TokenBatch.first_index", m.first_index);
  for (std::size_t i = 0; rules.hold() && i < m.tokens.size(); ++i) {
    const SampledToken& token = m.tokens[i];
    rules.require(token.token >= 0, "TokenBatch.token", token.token)
        .require(!std::isnan(token.logprob), "TokenBatch.logprob", token.logprob)
        .at_most("TokenBatch.top_logprobs", token.top_logprobs.size(), CodecLimits::kTopLogprobs);
    for (std::size_t j = 0; rules.hold() && j < token.top_logprobs.size(); ++j) {
      rules
          .require(token.top_logprobs[j].token >= 0, "TokenBatch.top_logprobs token",
                   token.top_logprobs[j].token)
          .require(!std::isnan(token.top_logprobs[j].logprob), "TokenBatch.top_logprobs",
                   token.top_logprobs[j].logprob);
    }
  }
  return rules.done();
}

Result<void> check_rules(const Finish& m) {
  return Rules()
      .text("Finish.message", m.message)
      .require(m.stop_token >= -1, "Finish.stop_token", m.stop_token)
      .at_most("Finish.kv.runs", m.kv.runs.size(), kMaxKvRuns)
      .done();
}

Result<void> check_rules(const Status&) {
  return {};
}

}  // namespace leadline::transport
