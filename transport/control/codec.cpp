#include "transport/control/codec.h"

#include <cmath>
#include <type_traits>

#include "transport/control/codec_rules.h"
#include "transport/control/frame.h"
#include "transport/control/messages.pb.h"

namespace leadline::transport {

namespace {

namespace pb = leadline::wire::v1;

// ---- values that protobuf types hold loosely

void put_bytes(const std::array<std::uint8_t, 32>& from, std::string* to) {
  to->assign(reinterpret_cast<const char*>(from.data()), from.size());
}
// 32 bytes, or none for zeros where that is allowed.
Result<void> get_bytes(const std::string& from, const char* field, bool optional,
                       std::array<std::uint8_t, 32>& to) {
  to = {};
  if (from.empty() && optional) return {};
  if (from.size() != to.size()) {
    return monitoring::fail(Errc::malformed,
                            std::string(field) + " of " + std::to_string(from.size()) + " bytes, not 32");
  }
  for (std::size_t i = 0; i < to.size(); ++i) to[i] = static_cast<std::uint8_t>(from[i]);
  return {};
}
FinishReason reason_of(std::uint32_t wire) {
  return wire <= static_cast<std::uint32_t>(FinishReason::failed) ? static_cast<FinishReason>(wire)
                                                                  : FinishReason::unknown;
}
WorkerPhase phase_of(std::uint32_t wire) {
  return wire <= static_cast<std::uint32_t>(WorkerPhase::failed) ? static_cast<WorkerPhase>(wire)
                                                                 : WorkerPhase::unknown;
}

// ---- one to_wire and one from_wire per message; rules on values are codec_rules'

pb::Hello to_wire(const Hello& m) {
  pb::Hello w;
  w.set_protocol_version(m.protocol_version);
  w.set_model_fingerprint(m.model_fingerprint);
  put_bytes(m.nonce, w.mutable_nonce());
  return w;
}
Result<Hello> from_wire(const pb::Hello& w) {
  Hello m{w.protocol_version(), w.model_fingerprint(), {}};
  if (auto ok = get_bytes(w.nonce(), "Hello.nonce", false, m.nonce); !ok) return tl::unexpected(ok.error());
  return m;
}

pb::Welcome to_wire(const Welcome& m) {
  pb::Welcome w;
  w.set_protocol_version(m.protocol_version);
  w.set_model_fingerprint(m.model_fingerprint);
  w.set_served_model_name(m.served_model_name);
  w.set_max_model_len(m.max_model_len);
  w.set_max_sequences(m.max_sequences);
  w.set_ranks(m.ranks);
  w.set_vocab_size(m.vocab_size);
  w.set_page_tokens(m.page_tokens);
  put_bytes(m.nonce, w.mutable_nonce());
  put_bytes(m.mac, w.mutable_mac());
  return w;
}
Result<Welcome> from_wire(const pb::Welcome& w) {
  Welcome m;
  m.protocol_version = w.protocol_version();
  m.model_fingerprint = w.model_fingerprint();
  m.served_model_name = w.served_model_name();
  m.max_model_len = w.max_model_len();
  m.max_sequences = w.max_sequences();
  m.ranks = w.ranks();
  m.vocab_size = w.vocab_size();
  m.page_tokens = w.page_tokens();
  if (auto ok = get_bytes(w.nonce(), "Welcome.nonce", false, m.nonce); !ok) return tl::unexpected(ok.error());
  if (auto ok = get_bytes(w.mac(), "Welcome.mac", false, m.mac); !ok) return tl::unexpected(ok.error());
  return m;
}

pb::Confirm to_wire(const Confirm& m) {
  pb::Confirm w;
  put_bytes(m.mac, w.mutable_mac());
  return w;
}
Result<Confirm> from_wire(const pb::Confirm& w) {
  Confirm m;
  if (auto ok = get_bytes(w.mac(), "Confirm.mac", false, m.mac); !ok) return tl::unexpected(ok.error());
  return m;
}

pb::Refusal to_wire(const Refusal& m) {
  pb::Refusal w;
  w.set_reason(m.reason);
  return w;
}
Result<Refusal> from_wire(const pb::Refusal& w) {
  return Refusal{w.reason()};
}

pb::Ping to_wire(const Ping& m) {
  pb::Ping w;
  w.set_nonce(m.nonce);
  return w;
}
Result<Ping> from_wire(const pb::Ping& w) {
  return Ping{w.nonce()};
}

pb::Pong to_wire(const Pong& m) {
  pb::Pong w;
  w.set_nonce(m.nonce);
  return w;
}
Result<Pong> from_wire(const pb::Pong& w) {
  return Pong{w.nonce()};
}

void to_wire(const SamplingSpec& m, pb::Sampling& w) {
  w.set_temperature(m.temperature);
  w.set_top_k(m.top_k);
  w.set_top_p(m.top_p);
  w.set_min_p(m.min_p);
  w.set_repetition_penalty(m.repetition_penalty);
  w.set_presence_penalty(m.presence_penalty);
  w.set_frequency_penalty(m.frequency_penalty);
  w.set_seed(m.seed);
  for (const auto& [token, bias] : m.logit_bias) {
    pb::LogitBias& entry = *w.add_logit_bias();
    entry.set_token(token);
    entry.set_bias(bias);
  }
  w.set_top_logprobs(m.top_logprobs);
}
SamplingSpec from_wire(const pb::Sampling& w) {
  SamplingSpec m;
  m.temperature = w.temperature();
  m.top_k = w.top_k();
  m.top_p = w.top_p();
  m.min_p = w.min_p();
  m.repetition_penalty = w.repetition_penalty();
  m.presence_penalty = w.presence_penalty();
  m.frequency_penalty = w.frequency_penalty();
  m.seed = w.seed();
  m.logit_bias.reserve(static_cast<std::size_t>(w.logit_bias_size()));
  for (const pb::LogitBias& entry : w.logit_bias()) m.logit_bias.emplace_back(entry.token(), entry.bias());
  m.top_logprobs = w.top_logprobs();
  return m;
}

void to_wire(const SpeculationWish& m, pb::Speculation& w) {
  w.set_mode(static_cast<std::uint32_t>(m.mode));
  w.set_max_draft(m.max_draft);
}
Result<SpeculationWish> from_wire(const pb::Speculation& w) {
  if (w.mode() > static_cast<std::uint32_t>(SpeculationMode::learned))
    return monitoring::fail(Errc::malformed, "Generate.speculation.mode is " + std::to_string(w.mode()));
  return SpeculationWish{static_cast<SpeculationMode>(w.mode()), w.max_draft()};
}

void to_wire(const KvWish& m, pb::KvWish& w) {
  w.set_compression(m.compression);
  w.set_budget(m.budget);
  w.set_budget_tokens(m.budget_tokens);
  if (m.threshold) w.set_threshold(*m.threshold);
  w.set_no_store(!m.store);
  w.set_ttl_s(m.ttl_s);
  w.set_pinned_prefix(m.pinned_prefix);
}
KvWish from_wire(const pb::KvWish& w) {
  KvWish m;
  m.compression = w.compression();
  m.budget = w.budget();
  m.budget_tokens = w.budget_tokens();
  if (w.has_threshold()) m.threshold = w.threshold();
  m.store = !w.no_store();
  m.ttl_s = w.ttl_s();
  m.pinned_prefix = w.pinned_prefix();
  return m;
}

pb::Generate to_wire(const Generate& m) {
  pb::Generate w;
  w.set_request(m.request.value);
  w.set_session(m.session.value);
  w.set_trace_id(m.trace_id);
  w.mutable_prompt()->Add(m.prompt.begin(), m.prompt.end());
  w.mutable_generated()->Add(m.generated.begin(), m.generated.end());
  to_wire(m.sampling, *w.mutable_sampling());
  w.set_max_tokens(m.max_tokens);
  w.set_min_tokens(m.min_tokens);
  w.mutable_stop_token_ids()->Add(m.stop_token_ids.begin(), m.stop_token_ids.end());
  w.set_ignore_eos(m.ignore_eos);
  w.set_priority(m.priority);
  w.set_deadline_ms(m.deadline_ms);
  put_bytes(m.tenant_salt, w.mutable_tenant_salt());
  w.set_allowed_vocab(m.allowed_vocab);
  w.mutable_banned_ids()->Add(m.banned_ids.begin(), m.banned_ids.end());
  to_wire(m.speculation, *w.mutable_speculation());
  to_wire(m.kv, *w.mutable_kv());
  return w;
}
Result<Generate> from_wire(const pb::Generate& w) {
  Generate m;
  if (!w.has_sampling()) return monitoring::fail(Errc::malformed, "Generate.sampling is missing");
  m.request = RequestId(w.request());
  m.session = SessionId(w.session());
  m.trace_id = w.trace_id();
  m.prompt.assign(w.prompt().begin(), w.prompt().end());
  m.generated.assign(w.generated().begin(), w.generated().end());
  m.sampling = from_wire(w.sampling());
  m.max_tokens = w.max_tokens();
  m.min_tokens = w.min_tokens();
  m.stop_token_ids.assign(w.stop_token_ids().begin(), w.stop_token_ids().end());
  m.ignore_eos = w.ignore_eos();
  m.priority = w.priority();
  m.deadline_ms = w.deadline_ms();
  m.allowed_vocab = w.allowed_vocab();
  m.banned_ids.assign(w.banned_ids().begin(), w.banned_ids().end());
  auto speculation = from_wire(w.speculation());
  if (!speculation) return tl::unexpected(speculation.error());
  m.speculation = *speculation;
  m.kv = from_wire(w.kv());
  if (auto ok = get_bytes(w.tenant_salt(), "Generate.tenant_salt", true, m.tenant_salt); !ok) {
    return tl::unexpected(ok.error());
  }
  return m;
}

pb::Cancel to_wire(const Cancel& m) {
  pb::Cancel w;
  w.set_request(m.request.value);
  return w;
}
Result<Cancel> from_wire(const pb::Cancel& w) {
  return Cancel{RequestId(w.request())};
}

pb::Drain to_wire(const Drain&) {
  return {};
}
Result<Drain> from_wire(const pb::Drain&) {
  return Drain{};
}

pb::TokenBatch to_wire(const TokenBatch& m) {
  pb::TokenBatch w;
  w.set_request(m.request.value);
  w.set_first_index(m.first_index);
  for (const SampledToken& token : m.tokens) {
    pb::SampledToken& entry = *w.add_tokens();
    entry.set_token(token.token);
    entry.set_logprob(token.logprob);
    entry.set_draft_layer(token.draft_layer);
    for (const TokenLogprob& top : token.top_logprobs) {
      pb::TokenLogprob& item = *entry.add_top_logprobs();
      item.set_token(top.token);
      item.set_logprob(top.logprob);
    }
  }
  return w;
}
Result<TokenBatch> from_wire(const pb::TokenBatch& w) {
  TokenBatch m;
  m.request = RequestId(w.request());
  m.first_index = w.first_index();
  m.tokens.reserve(static_cast<std::size_t>(w.tokens_size()));
  for (const pb::SampledToken& entry : w.tokens()) {
    SampledToken& token = m.tokens.emplace_back();
    token.token = entry.token();
    token.logprob = entry.logprob();
    token.draft_layer = entry.draft_layer();
    for (const pb::TokenLogprob& item : entry.top_logprobs())
      token.top_logprobs.push_back({item.token(), item.logprob()});
  }
  return m;
}

void put_story(const KvStory& m, pb::KvStory& w) {
  for (const KvRun& run : m.runs) {
    pb::KvRun& out = *w.add_runs();
    out.set_source(static_cast<std::uint32_t>(run.source));
    out.set_tokens(run.tokens);
  }
  for (const KvRead& read : m.reads) {
    pb::KvRead& out = *w.add_reads();
    out.set_bytes(read.bytes);
    out.set_us(read.us);
  }
  w.set_wait_us(m.wait_us);
  w.set_fetch_us(m.fetch_us);
  w.set_recompute_us(m.recompute_us);
  w.set_offered_tokens(m.offered_tokens);
}
Result<KvStory> get_story(const pb::KvStory& w) {
  KvStory m;
  const auto runs = static_cast<std::size_t>(w.runs_size()), reads = static_cast<std::size_t>(w.reads_size());
  if (runs > kMaxKvRuns)
    return monitoring::fail(Errc::too_large, "Finish.kv.runs " + std::to_string(runs) + ", at most " +
                                                 std::to_string(kMaxKvRuns));
  if (reads != 0 && reads != m.reads.size())
    return monitoring::fail(Errc::malformed, "Finish.kv.reads " + std::to_string(reads) + ", not 3");
  for (const pb::KvRun& run : w.runs()) {
    if (run.source() >= kKvSources)
      return monitoring::fail(Errc::malformed, "Finish.kv.runs.source " + std::to_string(run.source()));
    m.runs.push_back({static_cast<KvSource>(run.source()), run.tokens()});
  }
  for (std::size_t i = 0; i < reads; ++i)
    m.reads[i] = {w.reads(static_cast<int>(i)).bytes(), w.reads(static_cast<int>(i)).us()};
  m.wait_us = w.wait_us();
  m.fetch_us = w.fetch_us();
  m.recompute_us = w.recompute_us();
  m.offered_tokens = w.offered_tokens();
  return m;
}

pb::Finish to_wire(const Finish& m) {
  pb::Finish w;
  w.set_request(m.request.value);
  w.set_reason(static_cast<std::uint32_t>(m.reason));
  w.set_message(m.message);
  w.set_stop_token(m.stop_token);
  w.set_prompt_tokens(m.prompt_tokens);
  w.set_cached_tokens(m.cached_tokens);
  w.set_generated_tokens(m.generated_tokens);
  w.set_preemptions(m.preemptions);
  w.set_queue_us(m.queue_us);
  w.set_prefill_us(m.prefill_us);
  w.set_decode_us(m.decode_us);
  w.set_speculation_rounds(m.speculation_rounds);
  w.set_drafted_tokens(m.drafted_tokens);
  w.set_accepted_tokens(m.accepted_tokens);
  if (m.kv != KvStory{}) put_story(m.kv, *w.mutable_kv());
  return w;
}
Result<Finish> from_wire(const pb::Finish& w) {
  Finish m;
  m.request = RequestId(w.request());
  m.reason = reason_of(w.reason());
  m.message = w.message();
  m.stop_token = w.stop_token();
  m.prompt_tokens = w.prompt_tokens();
  m.cached_tokens = w.cached_tokens();
  m.generated_tokens = w.generated_tokens();
  m.preemptions = w.preemptions();
  m.queue_us = w.queue_us();
  m.prefill_us = w.prefill_us();
  m.decode_us = w.decode_us();
  m.speculation_rounds = w.speculation_rounds();
  m.drafted_tokens = w.drafted_tokens();
  m.accepted_tokens = w.accepted_tokens();
  auto story = get_story(w.kv());
  if (!story) return tl::unexpected(story.error());
  m.kv = std::move(*story);
  return m;
}

pb::Status to_wire(const Status& m) {
  pb::Status w;
  w.set_phase(static_cast<std::uint32_t>(m.phase));
  w.set_loaded_bytes(m.loaded_bytes);
  w.set_total_bytes(m.total_bytes);
  w.set_running(m.running);
  w.set_waiting(m.waiting);
  w.set_waiting_tokens(m.waiting_tokens);
  w.set_pages_used(m.pages_used);
  w.set_pages_total(m.pages_total);
  w.set_steps(m.steps);
  w.set_step_age_ms(m.step_age_ms);
  return w;
}
Result<Status> from_wire(const pb::Status& w) {
  Status m;
  m.phase = phase_of(w.phase());
  m.loaded_bytes = w.loaded_bytes();
  m.total_bytes = w.total_bytes();
  m.running = w.running();
  m.waiting = w.waiting();
  m.waiting_tokens = w.waiting_tokens();
  m.pages_used = w.pages_used();
  m.pages_total = w.pages_total();
  m.steps = w.steps();
  m.step_age_ms = w.step_age_ms();
  return m;
}

template <typename Wire>
Result<Message> decode_as(std::span<const std::byte> body) {
  Wire wire;
  if (!wire.ParseFromArray(body.data(), static_cast<int>(body.size()))) {
    return monitoring::fail(Errc::malformed, "body of " + std::to_string(body.size()) + " bytes is not a " +
                                                 Wire().GetTypeName());
  }
  auto message = from_wire(wire);
  if (!message) return tl::unexpected(std::move(message).error());
  if (auto good = check_rules(*message); !good) return tl::unexpected(std::move(good).error());
  return Message(std::move(*message));
}

using Decoder = Result<Message> (*)(std::span<const std::byte>);
struct TypeRow {
  Decoder decode;
  std::size_t max_body_bytes;  // protobuf objects outweigh their bytes: what is small on the wire is small
};
constexpr std::size_t kSmall = std::size_t{32} << 10;
// In the order of the Message variant: type 1 is Hello.
constexpr TypeRow kTypes[] = {
    {decode_as<pb::Hello>, kSmall},
    {decode_as<pb::Welcome>, kSmall},
    {decode_as<pb::Confirm>, kSmall},
    {decode_as<pb::Refusal>, kSmall},
    {decode_as<pb::Ping>, kSmall},
    {decode_as<pb::Pong>, kSmall},
    {decode_as<pb::Generate>, CodecLimits::kFrameBytes},
    {decode_as<pb::Cancel>, kSmall},
    {decode_as<pb::Drain>, kSmall},
    {decode_as<pb::TokenBatch>, CodecLimits::kTokenBatchBytes},
    {decode_as<pb::Finish>, kSmall},
    {decode_as<pb::Status>, kSmall},
};
static_assert(std::size(kTypes) == std::variant_size_v<Message>);

}  // namespace

std::uint8_t type_of(const Message& message) {
  return static_cast<std::uint8_t>(message.index() + 1);
}

Result<void> encode(const Message& message, std::vector<std::byte>& out) {
  return std::visit(
      [&](const auto& m) -> Result<void> {
        if (auto good = check_rules(m); !good) return good;
        const std::string body = to_wire(m).SerializeAsString();
        if (body.size() > kTypes[message.index()].max_body_bytes) {
          return monitoring::fail(Errc::too_large, "message of " + std::to_string(body.size()) + " bytes");
        }
        append_frame(type_of(message), std::as_bytes(std::span(body)), out);
        return {};
      },
      message);
}

Result<Message> decode(std::uint8_t type, std::span<const std::byte> body) {
  if (type < 1 || type > std::size(kTypes)) {
    return monitoring::fail(Errc::malformed, "frame type " + std::to_string(type));
  }
  const TypeRow& row = kTypes[type - 1];
  if (body.size() > row.max_body_bytes) {
    return monitoring::fail(Errc::too_large, "frame type " + std::to_string(type) + " of " +
                                                 std::to_string(body.size()) + " bytes, limit " +
                                                 std::to_string(row.max_body_bytes));
  }
  return row.decode(body);
}

}  // namespace leadline::transport
