#pragma once
// Every message between coordinator and worker, as domain values; transport/control/codec turns them into
// protobuf and back. Not text: only tokens travel. Coordinator -> worker: Generate, Cancel, Drain. Worker ->
// coordinator: TokenBatch, Finish, Status. The handshake (Hello, Welcome) comes first on every link. Limits
// are the codec's (docs/formats/wire.md). Thread: values.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "transport/control/ids.h"

namespace leadline::transport {

inline constexpr std::uint32_t kProtocolVersion = 4;

// What a request asks of sampling. Defaults are greedy-free "model's own": the coordinator fills every field.
struct SamplingSpec {
  float temperature = 1.0F;         // 0 = greedy; [0, 2] at the API
  std::int32_t top_k = 0;           // 0 = off
  float top_p = 1.0F;               // (0, 1]
  float min_p = 0.0F;               // [0, 1)
  float repetition_penalty = 1.0F;  // > 0
  float presence_penalty = 0.0F;    // [-2, 2]
  float frequency_penalty = 0.0F;   // [-2, 2]
  std::uint64_t seed = 0;           // with position and token id the key of the noise (exactness X3)
  std::vector<std::pair<TokenId, float>> logit_bias;
  std::int32_t top_logprobs = -1;  // -1 = no logprobs; 0 = the sampled token's only; up to 20
  friend bool operator==(const SamplingSpec&, const SamplingSpec&) = default;
};

enum class SpeculationMode : std::uint8_t {
  automatic = 0,  // what the server is set to
  off = 1,
  fixed = 2,  // the server's static setting
  learned = 3,
};

struct SpeculationWish {  // of a request; output is the same with any
  SpeculationMode mode = SpeculationMode::automatic;
  std::uint32_t max_draft = 0;  // tokens drafted in one round; 0 = the server's limit
  friend bool operator==(const SpeculationWish&, const SpeculationWish&) = default;
};

struct KvWish {                     // of a request
  std::string compression;          // a method's name; "" = the server's default; exact = none
  float budget = 0;                 // share of the slots to keep, (0, 1]; 0 = not given
  std::uint32_t budget_tokens = 0;  // slots to keep; 0 = not given
  std::optional<float> threshold;   // of a method that merges by similarity, [-1, 1]
  bool store = true;                // false: none of its blocks leave the device
  std::uint64_t ttl_s = 0;          // of blocks in the tiers; 0 = the server's default
  std::uint32_t pinned_prefix = 0;  // first tokens of the prompt that compression keeps: the system prompt
  friend bool operator==(const KvWish&, const KvWish&) = default;
};

struct Generate {
  RequestId request;
  SessionId session;
  std::string trace_id;            // X-Request-Id, for logs only
  std::vector<TokenId> prompt;     // the request's own prompt; penalties and usage count it as prompt
  std::vector<TokenId> generated;  // tokens already made elsewhere (failover): positions go on after them
  SamplingSpec sampling;
  std::uint32_t max_tokens = 0;         // generated tokens in all, `generated` included; > 0
  std::uint32_t min_tokens = 0;         // before this many no stop id may be sampled
  std::vector<TokenId> stop_token_ids;  // sampled -> finished, the token is delivered
  bool ignore_eos = false;              // the model's own eos ids do not stop
  std::uint32_t allowed_vocab =
      0;  // ids that the tokenizer has: [0, allowed_vocab); 0 = the model's whole vocabulary
  std::vector<TokenId> banned_ids;             // never sampled: holes of the tokenizer below allowed_vocab
  std::int32_t priority = 0;                   // higher first; clamped by the coordinator
  std::uint64_t deadline_ms = 0;               // from receipt; 0 = none
  std::array<std::uint8_t, 32> tenant_salt{};  // exactness X7; zero = the default tenant
  SpeculationWish speculation;
  KvWish kv;
  friend bool operator==(const Generate&, const Generate&) = default;
};

struct Cancel {
  RequestId request;
  friend bool operator==(const Cancel&, const Cancel&) = default;
};

struct Drain {  // take nothing new, finish what runs, then leave
  friend bool operator==(const Drain&, const Drain&) = default;
};

struct TokenLogprob {
  TokenId token = 0;
  float logprob = 0;  // natural log, of the distribution before temperature and filters (log-softmax of
                      // biased, penalised logits)
  friend bool operator==(const TokenLogprob&, const TokenLogprob&) = default;
};

struct SampledToken {
  TokenId token = 0;
  float logprob = 0;                       // valid when logprobs were asked for
  std::vector<TokenLogprob> top_logprobs;  // descending; ties by smaller id first
  // How it was computed, for people who look: the layer at which a draft of it was made, negative when the
  // draft was another token and lost; 0 = not drafted.
  std::int32_t draft_layer = 0;
  // Two answers are the same whatever it took to compute them.
  friend bool operator==(const SampledToken& a, const SampledToken& b) {
    return a.token == b.token && a.logprob == b.logprob && a.top_logprobs == b.top_logprobs;
  }
};

struct TokenBatch {  // consecutive tokens of one request; coalesced when the link is slower than the steps
  RequestId request;
  std::uint32_t first_index =
      0;  // index of tokens[0] among generated tokens, failover's `generated` included
  std::vector<SampledToken> tokens;
  friend bool operator==(const TokenBatch&, const TokenBatch&) = default;
};

enum class FinishReason : std::uint8_t {
  stop = 0,    // eos or a stop id
  length = 1,  // max_tokens or the model's context
  cancelled = 2,
  deadline = 3,    // deadline_ms ran out
  overloaded = 4,  // handed back before any work: inbox or queue full, draining; retry elsewhere
  invalid = 5,     // the worker refuses it: message says which field
  failed = 6,      // the worker failed while working on it
  unknown = 255,   // a newer peer's reason
};

enum class KvSource : std::uint8_t { device = 0, memory = 1, disk = 2, redis = 3 };
inline constexpr std::size_t kKvSources = 4;
inline constexpr std::size_t kMaxKvRuns = 32;

struct KvRun {  // consecutive prompt tokens whose KV came from one place
  KvSource source = KvSource::device;
  std::uint32_t tokens = 0;
  friend bool operator==(const KvRun&, const KvRun&) = default;
};

struct KvRead {  // of blocks, by the leading rank, for its KV heads
  std::uint64_t bytes = 0, us = 0;
  friend bool operator==(const KvRead&, const KvRead&) = default;
};

struct KvStory {                     // how the cached part of a prompt came to be, at first admission
  std::vector<KvRun> runs;           // in order, from token 0; what is beyond kMaxKvRuns is in the last one
  std::array<KvRead, 3> reads{};     // memory, disk, Redis
  std::uint64_t wait_us = 0;         // looking for blocks and fetching them
  std::uint64_t fetch_us = 0;        // expected for fetching them when that was chosen
  std::uint64_t recompute_us = 0;    // expected for computing the runs instead; 0 = not known
  std::uint32_t offered_tokens = 0;  // found in tiers, taken or not
  [[nodiscard]] std::uint32_t tokens_from(KvSource source) const {
    std::uint32_t sum = 0;
    for (const KvRun& run : runs) sum += run.source == source ? run.tokens : 0;
    return sum;
  }
  friend bool operator==(const KvStory&, const KvStory&) = default;
};

struct Finish {
  RequestId request;
  FinishReason reason = FinishReason::unknown;
  std::string message;           // for invalid and failed; no prompt text
  std::int32_t stop_token = -1;  // the eos or stop id, -1 when none
  std::uint32_t prompt_tokens = 0;
  std::uint32_t cached_tokens = 0;     // of the prompt, taken from the prefix cache at first admission
  std::uint32_t generated_tokens = 0;  // made by this worker
  std::uint32_t preemptions = 0;
  std::uint64_t queue_us = 0;    // receipt -> first scheduled
  std::uint64_t prefill_us = 0;  // first scheduled -> first token
  std::uint64_t decode_us = 0;   // first token -> last token
  std::uint32_t speculation_rounds = 0, drafted_tokens = 0, accepted_tokens = 0;
  KvStory kv;
  friend bool operator==(const Finish&, const Finish&) = default;
};

enum class WorkerPhase : std::uint8_t {
  starting = 0,
  loading = 1,
  warming = 2,
  ready = 3,
  draining = 4,
  failed = 5,
  unknown = 255
};

struct Status {  // sent on connect, on every phase change, and at a fixed period
  WorkerPhase phase = WorkerPhase::unknown;
  std::uint64_t loaded_bytes = 0, total_bytes = 0;  // weights, during loading
  std::uint32_t running = 0, waiting = 0;           // sequences
  std::uint64_t waiting_tokens = 0;                 // prompt tokens not yet computed
  std::uint32_t pages_used = 0, pages_total = 0;    // referenced by running sequences; reusable ones are free
  std::uint64_t steps = 0;                          // completed steps since start: the heartbeat
  std::uint64_t step_age_ms = 0;                    // since the last completed step, 0 when idle
  friend bool operator==(const Status&, const Status&) = default;
};

// Handshake. Both sides prove the shared secret: mac = HMAC-SHA256(secret, role || own nonce || peer nonce),
// no replay.
struct Hello {  // first from the coordinator
  std::uint32_t protocol_version = kProtocolVersion;
  std::string model_fingerprint;  // what the coordinator's tokenizer and config demand; "" = any
  std::array<std::uint8_t, 32> nonce{};
  friend bool operator==(const Hello&, const Hello&) = default;
};
struct Welcome {  // the worker's answer
  std::uint32_t protocol_version = kProtocolVersion;
  std::string model_fingerprint;
  std::string served_model_name;
  std::uint32_t max_model_len = 0;  // tokens, prompt and answer
  std::uint32_t max_sequences = 0;
  std::uint32_t ranks = 0;
  std::uint32_t vocab_size = 0;
  std::uint32_t page_tokens = 16;
  std::array<std::uint8_t, 32> nonce{}, mac{};
  friend bool operator==(const Welcome&, const Welcome&) = default;
};
struct Confirm {  // the coordinator's proof
  std::array<std::uint8_t, 32> mac{};
  friend bool operator==(const Confirm&, const Confirm&) = default;
};
struct Refusal {  // sent before closing: why the handshake failed
  std::string reason;
  friend bool operator==(const Refusal&, const Refusal&) = default;
};
struct Ping {
  std::uint64_t nonce = 0;
  friend bool operator==(const Ping&, const Ping&) = default;
};
struct Pong {
  std::uint64_t nonce = 0;
  friend bool operator==(const Pong&, const Pong&) = default;
};

using Message = std::variant<Hello, Welcome, Confirm, Refusal, Ping, Pong, Generate, Cancel, Drain,
                             TokenBatch, Finish, Status>;

}  // namespace leadline::transport
