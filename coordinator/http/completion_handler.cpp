#include "coordinator/http/completion_handler.h"

#include <nlohmann/json.hpp>
#include <optional>

#include "coordinator/http/completion_response.h"
#include "coordinator/http/error_response.h"
#include "coordinator/http/json_guard.h"
#include "coordinator/http/prompt_builder.h"
#include "coordinator/http/request_id.h"
#include "coordinator/http/sse_stream.h"
#include "coordinator/http/system_prefix.h"
#include "monitoring/log.h"

namespace leadline::coordinator {

namespace {

// One request under way. Held by its generations, by the text pool's tasks and by its timer; dies with the
// last (Asio lifetime).
class CompletionJob final : public GenerationClient, public std::enable_shared_from_this<CompletionJob> {
 public:
  CompletionJob(Services& services, std::shared_ptr<Exchange> exchange, Tenant tenant, Endpoint endpoint)
      : services_(services),
        exchange_(std::move(exchange)),
        tenant_(std::move(tenant)),
        received_ms_(services.now_ms()) {
    request_.endpoint = endpoint;
  }

  void start();
  void on_placed(std::uint32_t choice) override;
  void on_delta(std::uint32_t choice, Delta delta) override;
  void on_end(std::uint32_t choice, const Generation& generation, transport::WorkerId worker) override;

 private:
  void parse();  // on the text pool
  void parsed();
  void encode(const Splice& splice);  // on the text pool
  void encoded();
  bool admit(const AdmissionAsk& ask);
  void submit_all();
  GenerationSpec spec_of(std::size_t prompt, std::uint32_t choice) const;
  std::optional<transport::WorkerId> session_worker();
  void begin_stream();
  void send_role(std::uint32_t choice);
  void send(const std::string& json);
  void finish_all();
  void remember(const Generation& generation, transport::WorkerId worker);
  void abort(const Error& error, unsigned retry_after_s = 1);
  void abandon();  // the client left
  HeaderList headers() const;
  ResponseTotals totals() const;
  const std::vector<transport::TokenId>& prompt_of(std::uint32_t choice) const {
    return prompts_.tokens[choice / request_.n];
  }

  // constant after construction
  Services& services_;
  const std::shared_ptr<Exchange> exchange_;
  const Tenant tenant_;
  const std::uint64_t received_ms_;
  // owned by the I/O thread; by the text pool while it works for us
  std::string body_;
  CompletionRequest request_;
  std::optional<Error> error_;
  BuiltPrompts prompts_;
  std::string system_text_;  // at the start of the chat, where it is pinned
  // owned by the I/O thread
  std::optional<CompletionResponse> response_;
  std::optional<SseStream> stream_;
  std::vector<ChoiceState> choices_;
  std::vector<GenerationHandle> handles_;
  std::optional<std::uint64_t> placed_ms_;
  std::size_t open_choices_ = 0;
  bool over_ = false;
};

void CompletionJob::start() {
  AdmissionAsk ask;
  if (!admit(ask)) return;
  exchange_->on_disconnect([weak = weak_from_this()] {
    if (auto self = weak.lock()) self->abandon();
  });
  services_.dispatcher.preparing(+1);
  body_ = exchange_->take_body();
  auto self = shared_from_this();
  services_.offload([self] { self->parse(); }, [self] { self->parsed(); });
}

bool CompletionJob::admit(const AdmissionAsk& ask) {
  const AdmissionDecision decision = services_.dispatcher.admit(ask);
  switch (decision.verdict) {
    case AdmissionVerdict::admit:
      return true;
    case AdmissionVerdict::overloaded:
      services_.metrics.requests_rejected[Rejection::overloaded].inc();
      abort(Error{Errc::overloaded, "the queue is full; try again later", {}}, decision.retry_after_s);
      return false;
    case AdmissionVerdict::draining:
      services_.metrics.requests_rejected[Rejection::draining].inc();
      abort(Error{Errc::unavailable, "the server is shutting down", {}}, decision.retry_after_s);
      return false;
    case AdmissionVerdict::no_worker:
      services_.metrics.requests_rejected[Rejection::overloaded].inc();
      abort(Error{Errc::unavailable, "no worker is known", {}}, decision.retry_after_s);
      return false;
  }
  return false;
}

void CompletionJob::parse() {
  auto json = parse_json_object(body_, services_.limits);
  body_ = std::string();
  if (!json) {
    error_ = json.error();
    return;
  }
  const RequestRules rules{services_.limits, services_.model, random_u64()};
  auto request = parse_completion_request(request_.endpoint, *json, rules);
  if (!request) {
    error_ = request.error();
    return;
  }
  request_ = std::move(*request);
  if (request_.endpoint != Endpoint::chat) return;
  const std::int64_t now = services_.unix_s();
  auto rendered = render_chat(request_, services_.chat_template, now);
  if (!rendered) {
    error_ = rendered.error();
    return;
  }
  prompts_.rendered = std::move(*rendered);
  if (pins_system_prompt(request_, services_.kv_compression))
    system_text_ = render_system_prefix(request_, *services_.chat_template, prompts_.rendered, now);
}

void CompletionJob::parsed() {
  if (over_ || error_) {
    services_.dispatcher.preparing(-1);
    if (error_) abort(*error_);
    return;
  }
  Splice splice;
  if (request_.endpoint == Endpoint::chat) {
    splice = find_splice(services_.sessions, tenant_.name, request_.messages, prompts_.rendered,
                         services_.now_ms());
  }
  auto self = shared_from_this();
  services_.offload([self, splice = std::move(splice)] { self->encode(splice); },
                    [self] { self->encoded(); });
}

void CompletionJob::encode(const Splice& splice) {
  auto built = encode_prompts(request_, services_.tokenizer, std::move(prompts_.rendered), splice,
                              services_.model.max_model_len);
  if (!built) {
    error_ = built.error();
    return;
  }
  prompts_ = std::move(*built);
  if (!system_text_.empty())
    request_.kv.pinned_prefix = system_prefix_tokens(services_.tokenizer, system_text_, prompts_.tokens[0]);
}

void CompletionJob::encoded() {
  services_.dispatcher.preparing(-1);
  if (over_) return;
  if (error_) return abort(*error_);
  AdmissionAsk ask;
  ask.sequences = prompts_.tokens.size() * request_.n;
  for (const auto& tokens : prompts_.tokens) ask.prompt_tokens += tokens.size() * request_.n;
  if (!admit(ask)) return;
  ResponseIdentity identity;
  identity.id =
      (request_.endpoint == Endpoint::chat ? "chatcmpl-" : "cmpl-") + exchange_->request().request_id;
  identity.model = request_.model;
  identity.created_unix_s = services_.unix_s();
  response_.emplace(request_, std::move(identity), services_.tokenizer);
  submit_all();
}

GenerationSpec CompletionJob::spec_of(std::size_t prompt, std::uint32_t choice) const {
  GenerationSpec spec;
  spec.stops = request_.stops;
  spec.skip_special_tokens = request_.skip_special_tokens;
  transport::Generate& g = spec.request;
  g.trace_id = exchange_->request().request_id;
  g.prompt = prompts_.tokens[prompt];
  g.sampling = request_.sampling;
  g.sampling.seed = choice_seed(request_.sampling.seed, choice);
  g.max_tokens = fit_max_tokens(request_, g.prompt.size(), services_.model.max_model_len).value_or(1);
  g.min_tokens = std::min(request_.min_tokens, g.max_tokens);
  g.stop_token_ids = request_.stop_token_ids;
  g.ignore_eos = request_.ignore_eos;
  g.allowed_vocab = static_cast<std::uint32_t>(services_.tokenizer.vocab_size());
  g.banned_ids = services_.banned_ids;
  g.priority = request_.priority;
  g.tenant_salt = tenant_.salt;
  g.speculation = request_.speculation;
  g.kv = request_.kv;
  return spec;
}

std::optional<transport::WorkerId> CompletionJob::session_worker() {
  const std::uint64_t now = services_.now_ms();
  if (!request_.prompt_cache_key.empty()) {
    if (const auto* turn = services_.sessions.find(tenant_.name, "k" + request_.prompt_cache_key, now))
      return turn->worker;
  }
  if (request_.endpoint != Endpoint::chat) return std::nullopt;
  for (const std::string& key : earlier_turn_keys(request_.messages)) {
    if (const auto* turn = services_.sessions.find(tenant_.name, key, now)) return turn->worker;
  }
  return std::nullopt;
}

void CompletionJob::submit_all() {
  const std::size_t count = prompts_.tokens.size() * request_.n;
  choices_.resize(count);
  open_choices_ = count;
  if (request_.stream) begin_stream();
  const auto worker = session_worker();
  for (std::size_t i = 0; i < count; ++i) {
    Submission submission;
    submission.spec = spec_of(i / request_.n, static_cast<std::uint32_t>(i % request_.n));
    submission.choice = static_cast<std::uint32_t>(i);
    submission.client = shared_from_this();
    submission.session_worker = worker;
    submission.received_ms = received_ms_;
    submission.deadline_at_ms = request_.deadline_ms == 0 ? 0 : received_ms_ + request_.deadline_ms;
    handles_.push_back(services_.dispatcher.submit(std::move(submission)));
  }
}

HeaderList CompletionJob::headers() const {
  if (request_.ignored.empty()) return {};
  std::string list;
  for (const std::string& name : request_.ignored) {
    std::string safe;
    for (const char c : name) safe += c > 0x20 && c < 0x7F && c != ',' ? c : '?';
    if (list.size() + safe.size() + 2 > services_.limits.ignored_header_bytes) {
      list += ", ...";
      break;
    }
    list += (list.empty() ? "" : ", ") + safe;
  }
  return {{"x-leadline-ignored-fields", list}};
}

void CompletionJob::begin_stream() {
  stream_.emplace(exchange_, headers());
  services_.every_tick([weak = weak_from_this()] {
    auto self = weak.lock();
    if (!self || self->over_) return false;
    if (self->placed_ms_)
      self->stream_->keep_alive(self->services_.now_ms(), self->services_.limits.keep_alive_ms);
    return !self->over_;
  });
}

void CompletionJob::on_placed(std::uint32_t) {
  if (!placed_ms_) placed_ms_ = services_.now_ms();
}

void CompletionJob::send(const std::string& json) {
  if (!over_ && !stream_->event(json, services_.now_ms())) abandon();
}

void CompletionJob::send_role(std::uint32_t choice) {
  ChoiceState& state = choices_[choice];
  if (state.role_sent || request_.endpoint != Endpoint::chat) return;
  state.role_sent = true;
  send(response_->role_chunk(choice, prompt_of(choice)));
}

void CompletionJob::on_delta(std::uint32_t choice, Delta delta) {
  if (over_) return;
  ChoiceState& state = choices_[choice];
  if (!request_.stream) {
    state.text += delta.text;
    state.tokens.insert(state.tokens.end(), std::make_move_iterator(delta.tokens.begin()),
                        std::make_move_iterator(delta.tokens.end()));
    return;
  }
  send_role(choice);
  const bool shows_tokens = request_.wants_logprobs() || request_.return_token_ids;
  if (over_ || (delta.text.empty() && !(shows_tokens && !delta.tokens.empty()))) return;
  send(response_->delta_chunk(choice, state, delta, prompt_of(choice)));
}

void CompletionJob::on_end(std::uint32_t choice, const Generation& generation, transport::WorkerId worker) {
  if (over_) return;
  ChoiceState& state = choices_[choice];
  state.result = generation.result();
  state.ended = true;
  --open_choices_;
  services_.kv_history.add(
      {tenant_.name, exchange_->request().request_id, received_ms_, choice, worker.value, state.result},
      services_.limits.kv_stories);
  if (state.result.outcome != Outcome::stop && state.result.outcome != Outcome::length)
    return abort(state.result.error);
  if (choice == 0) remember(generation, worker);
  if (request_.stream) {
    send_role(choice);
    const ResponseTotals sums = totals();
    if (!over_) send(response_->finish_chunk(choice, state, open_choices_ == 0 ? &sums : nullptr));
  }
  if (open_choices_ == 0 && !over_) finish_all();
}

ResponseTotals CompletionJob::totals() const {
  const std::uint64_t now = services_.now_ms();
  return total_up(choices_, request_.n, static_cast<double>(placed_ms_.value_or(now) - received_ms_),
                  static_cast<double>(now - received_ms_));
}

void CompletionJob::finish_all() {
  const ResponseTotals sums = totals();
  if (request_.stream) {
    if (request_.include_usage) send(response_->usage_chunk(sums));
    if (over_) return;
    over_ = true;
    stream_->done();
  } else {
    over_ = true;
    HttpResponse response;
    response.body = response_->whole(choices_, prompts_.tokens, sums);
    response.headers = headers();
    exchange_->respond(std::move(response));
  }
  monitoring::log_info("completion", {{"request_id", exchange_->request().request_id},
                                      {"prompt_tokens", sums.prompt_tokens},
                                      {"cached_tokens", sums.cached_tokens},
                                      {"spliced_tokens", prompts_.spliced_tokens},
                                      {"generated_tokens", sums.generated_tokens},
                                      {"continuations", sums.continuations},
                                      {"ms", sums.total_ms}});
}

// X8: the ids that were really used, under the key that the conversation's next turn will look for.
void CompletionJob::remember(const Generation& generation, transport::WorkerId worker) {
  const std::uint64_t now = services_.now_ms();
  if (!request_.prompt_cache_key.empty()) {
    services_.sessions.put(tenant_.name, "k" + request_.prompt_cache_key, SessionTurn{{}, worker, {}, {}},
                           now);
  }
  if (request_.endpoint != Endpoint::chat || !request_.add_generation_prompt) return;
  SessionTurn turn;
  turn.worker = worker;
  if (!generation.result().stop_string) {  // a cut answer's ids do not end where its text ends
    turn.tokens = prompts_.tokens.front();
    turn.tokens.insert(turn.tokens.end(), generation.tokens().begin(), generation.tokens().end());
    turn.text = prompts_.rendered;
    for (const transport::TokenId token : generation.tokens())
      services_.tokenizer.append_bytes(token, false, turn.text);
  }
  services_.sessions.put(tenant_.name, session_key(request_.messages), std::move(turn), now);
}

void CompletionJob::abort(const Error& error, unsigned retry_after_s) {
  if (over_) return;
  over_ = true;
  const int status = http_status(error.code);
  if (handles_.empty() && (status == 400 || status == 404))
    services_.metrics.requests_rejected[Rejection::invalid].inc();
  for (const GenerationHandle handle : handles_) services_.dispatcher.cancel(handle);
  if (stream_ && stream_->begun()) {
    stream_->fail(error_event(error));
  } else {
    exchange_->respond(error_response(error, retry_after_s));
  }
  monitoring::log_info("completion_failed",
                       {{"request_id", exchange_->request().request_id}, {"status", status}});
}

void CompletionJob::abandon() {
  if (over_) return;
  over_ = true;
  for (const GenerationHandle handle : handles_) services_.dispatcher.cancel(handle);
  monitoring::log_info("completion_cancelled",
                       {{"request_id", exchange_->request().request_id}, {"status", 499}});
}

}  // namespace

void handle_chat_completions(Services& services, std::shared_ptr<Exchange> exchange, const Tenant& tenant) {
  std::make_shared<CompletionJob>(services, std::move(exchange), tenant, Endpoint::chat)->start();
}

void handle_completions(Services& services, std::shared_ptr<Exchange> exchange, const Tenant& tenant) {
  std::make_shared<CompletionJob>(services, std::move(exchange), tenant, Endpoint::completions)->start();
}

}  // namespace leadline::coordinator
