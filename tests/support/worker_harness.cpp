#include "tests/support/worker_harness.h"

#include "monitoring/check.h"
#include "tests/support/thread_communicator.h"

namespace leadline::tests {

using transport::Finish;
using transport::Generate;
using transport::RequestId;
using transport::TokenBatch;
using worker::LinkId;

namespace {
constexpr LinkId kLink{1};
}

WorkerHarness::WorkerHarness(HarnessOptions options)
    : options_(std::move(options)), policy_(options_.policy) {
  if (options_.model_directory.empty())
    options_.model_directory = std::string(LEADLINE_SOURCE_DIR) + "/models/reference";
  metrics_ = worker::WorkerMetrics::create(registry_, health_);
  outbox_.set_notifier([this](LinkId) { receive(); });
  group_ = make_thread_group(options_.ranks);
  for (int rank = 0; rank < options_.ranks; ++rank) threads_.emplace_back([this, rank] { rank_main(rank); });
}

WorkerHarness::~WorkerHarness() {
  inbox_.push_drain();
  for (std::thread& thread : threads_) thread.join();
}

void WorkerHarness::rank_main(int rank) {
  transport::Communicator& ranks = *group_[static_cast<std::size_t>(rank)];
  worker::BackendOptions backend_options;
  backend_options.device = "cpu";
  backend_options.isa = options_.isa;
  backend_options.threads = 1;
  backend_options.rank_on_host = rank;
  backend_options.ranks_on_host = options_.ranks;
  auto backend = worker::make_backend(backend_options);
  LEADLINE_CHECK(backend.has_value(), backend.error().message.c_str());
  auto config = worker::ModelConfig::load(options_.model_directory);
  LEADLINE_CHECK(config.has_value(), config.error().message.c_str());
  worker::TransformerOptions load;
  load.model_directory = options_.model_directory;
  load.weights = options_.weights;
  load.max_rows = static_cast<std::int32_t>(options_.step_tokens);
  const auto sequences = static_cast<std::int32_t>(options_.max_sequences),
             drafts = static_cast<std::int32_t>(options_.max_draft_rows);
  load.max_logit_rows = std::min(load.max_rows, sequences + drafts);
  load.max_kept_rows =
      worker::kept_rows_for(sequences, drafts, static_cast<std::int32_t>(options_.exits.size()));
  load.max_positions = static_cast<std::int32_t>(options_.max_model_len);
  auto transformer = worker::Transformer::load(*config, load, **backend, ranks);
  LEADLINE_CHECK(transformer.has_value(), transformer.error().message.c_str());
  worker::PageGeometry geometry;
  geometry.layers = static_cast<std::uint32_t>(config->layers);
  geometry.local_kv_heads = static_cast<std::uint32_t>((*transformer)->local_kv_heads());
  geometry.pages = options_.pages;
  geometry.host_pages = options_.host_pages;
  auto pool = (*backend)->allocate_kv(geometry.pages * geometry.units_per_page(), config->head_dim,
                                      options_.kv_dtype);
  LEADLINE_CHECK(pool.has_value(), pool.error().message.c_str());
  worker::StepExecutor executor(**backend, **transformer, **pool, geometry, ranks);
  if (rank > 0) {
    while (true) {  // follow(), inlined so that a failure here names the rank
      auto bytes = ranks.await_plan();
      LEADLINE_CHECK(bytes.has_value(), "await_plan failed");
      if (bytes->empty()) return;
      auto plan = worker::step_plan_from_bytes(*bytes);
      LEADLINE_CHECK(plan.has_value(), plan.error().message.c_str());
      auto done = executor.execute(*plan);
      LEADLINE_CHECK(done.has_value(), done.error().message.c_str());
    }
  }
  worker::LeadLimits limits;
  limits.intake.vocab = static_cast<std::uint32_t>(config->vocab);
  limits.intake.max_model_len = options_.max_model_len;
  limits.intake.eos_ids = config->eos_ids;
  limits.scheduler.max_sequences = options_.max_sequences;
  limits.scheduler.max_step_tokens = options_.step_tokens;
  limits.scheduler.min_chunk_tokens = options_.min_chunk_tokens;
  limits.scheduler.total_pages = options_.pages;
  limits.scheduler.max_draft_rows = options_.max_draft_rows;
  limits.speculation.exits = options_.exits;
  limits.speculation.layers = config->layers;
  worker::SequenceCache cache({options_.pages, options_.host_pages, options_.prefix_cache, "test"});
  worker::LeadLoop loop({inbox_, outbox_, status_, metrics_, health_, ranks, executor, cache, &policy_},
                        limits);
  auto done = loop.run();
  LEADLINE_CHECK(done.has_value(), done.error().message.c_str());
}

void WorkerHarness::receive() {
  {
    std::lock_guard lock(mutex_);
    for (transport::Message& message : outbox_.take(kLink, SIZE_MAX)) {
      if (auto* batch = std::get_if<TokenBatch>(&message)) {
        Answer& answer = answers_[batch->request];
        for (auto& token : batch->tokens) answer.tokens.push_back(std::move(token));
      } else if (auto* finish = std::get_if<Finish>(&message)) {
        answers_[finish->request].finish = *finish;
        finished_[finish->request] = true;
      }
    }
  }
  changed_.notify_all();
}

RequestId WorkerHarness::submit(Generate request) {
  request.request = RequestId{next_request_++};
  const RequestId id = request.request;
  auto back = inbox_.try_push({kLink, std::move(request), std::chrono::steady_clock::now()});
  LEADLINE_CHECK(!back, "the harness's inbox is full");
  return id;
}

void WorkerHarness::cancel(RequestId request) {
  inbox_.push_cancel(kLink, request);
}

Answer WorkerHarness::wait(RequestId request) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return finished_[request]; });
  return answers_[request];
}

void WorkerHarness::wait_tokens(RequestId request, std::size_t n) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return finished_[request] || answers_[request].tokens.size() >= n; });
}

std::size_t WorkerHarness::tokens_so_far(RequestId request) {
  std::lock_guard lock(mutex_);
  return answers_[request].tokens.size();
}

std::vector<Answer> WorkerHarness::run(std::vector<Generate> requests) {
  std::vector<RequestId> ids;
  for (Generate& request : requests) ids.push_back(submit(std::move(request)));
  std::vector<Answer> answers;
  for (RequestId id : ids) answers.push_back(wait(id));
  return answers;
}

std::vector<std::int32_t> sample_prompt(int i, std::size_t tokens) {
  std::vector<std::int32_t> prompt;
  std::uint32_t state = 2463534242U + static_cast<std::uint32_t>(i) * 7919U;
  while (prompt.size() < tokens) {
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    prompt.push_back(static_cast<std::int32_t>(state % 4000));  // ordinary ids of the reference vocabulary
  }
  return prompt;
}

}  // namespace leadline::tests
