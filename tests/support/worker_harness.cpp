#include "tests/support/worker_harness.h"

#include <optional>

#include "monitoring/check.h"
#include "tests/support/thread_communicator.h"
#include "worker/model/shard_plan.h"
#include "worker/runtime/block_store.h"
#include "worker/runtime/warm_up.h"

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
  if (options_.wrap)
    for (auto& rank : group_) rank = options_.wrap(std::move(rank));
  stores_.resize(static_cast<std::size_t>(options_.ranks));
  for (int rank = 0; rank < options_.ranks; ++rank) threads_.emplace_back([this, rank] { rank_main(rank); });
}

WorkerHarness::~WorkerHarness() {
  inbox_.push_drain();
  for (std::thread& thread : threads_) thread.join();
}

namespace {

std::unique_ptr<worker::Compressor> make_compressor(const worker::ModelConfig& config,
                                                    const worker::PageGeometry& geometry,
                                                    worker::KvPool& pool, transport::Communicator& ranks) {
  auto made = worker::Compressor::make({.layers = geometry.layers,
                                        .kv_heads = static_cast<std::uint32_t>(config.kv_heads),
                                        .query_heads = static_cast<std::uint32_t>(config.query_heads),
                                        .local_kv_heads = geometry.local_kv_heads,
                                        .pages = geometry.pages},
                                       pool, ranks);
  LEADLINE_CHECK(made.has_value(), made.error().message.c_str());
  return std::move(*made);
}

worker::UnitCodec make_codec(const worker::KvPool& pool, const std::string& name) {
  auto codec = worker::UnitCodec::of(pool, *kvstore::codec_named(name));
  LEADLINE_CHECK(codec.has_value(), codec.error().message.c_str());
  return *codec;
}

worker::CompressionRules compression_rules(const worker::ModelConfig& config, const HarnessOptions& options) {
  worker::CompressionRules rules;
  rules.unavailable.clear();
  rules.layers = static_cast<std::uint32_t>(config.layers);
  rules.total_pages = options.pages;
  rules.observe = options.on_compressed;
  rules.delimiters.assign(static_cast<std::size_t>(config.vocab), 0);
  for (std::size_t id = 0; id < rules.delimiters.size(); id += 11) rules.delimiters[id] = 1;
  return rules;
}

}  // namespace

kvstore::TieredStore* WorkerHarness::open_store(int rank, const worker::UnitCodec& codec) {
  worker::WorkerConfig config;
  config.kv_memory_bytes = options_.kv_memory_bytes;
  config.kv_disk_directory = options_.kv_disk_directory;
  config.kv_disk_bytes = options_.kv_disk_bytes;
  config.kv_redis = options_.kv_redis;
  auto opened = worker::open_block_store(
      config, options_.ranks, rank == 0 ? kvstore::StoreMetrics::create(registry_) : kvstore::StoreMetrics{},
      codec);
  LEADLINE_CHECK(opened.has_value(), opened.error().message.c_str());
  std::lock_guard lock(mutex_);
  return (stores_[static_cast<std::size_t>(rank)] = std::move(*opened)).get();
}

// worker/runtime's follow(), inlined so that a failure here names the rank.
void WorkerHarness::follow(transport::Communicator& ranks, worker::StepExecutor& executor,
                           kvstore::TieredStore* store) {
  while (true) {
    auto bytes = ranks.await_plan();
    LEADLINE_CHECK(bytes.has_value(), "await_plan failed");
    if (bytes->empty()) break;
    auto plan = worker::step_plan_from_bytes(*bytes);
    LEADLINE_CHECK(plan.has_value(), plan.error().message.c_str());
    auto done = executor.execute(*plan);
    LEADLINE_CHECK(done.has_value(), done.error().message.c_str());
  }
  if (store != nullptr) store->close(std::chrono::seconds(5));
}

void WorkerHarness::warm(worker::StepExecutor& executor, const worker::TransformerOptions& load, int rank,
                         std::int32_t vocab) {
  worker::WarmUpLimits limits;
  limits.max_sequences = static_cast<std::int32_t>(options_.max_sequences);
  limits.step_tokens = load.max_rows;
  limits.max_model_len = load.max_positions;
  limits.device = limits.records = !executor.backend().host_addressable();
  limits.exits = options_.exits;
  limits.max_draft_rows = static_cast<std::int32_t>(options_.max_draft_rows);
  const auto warmed = worker::warm_up(executor, limits, {rank == 0, vocab, load.max_logit_rows, {}});
  LEADLINE_CHECK(warmed.has_value(), warmed.error().message.c_str());
}

void WorkerHarness::rank_main(int rank) {
  transport::Communicator& ranks = *group_[static_cast<std::size_t>(rank)];
  worker::BackendOptions backend_options;
  backend_options.device = "cpu";
  backend_options.isa = options_.isa;
  backend_options.threads = 1;
  backend_options.rank_on_host = rank;
  backend_options.ranks_on_host = options_.ranks;
  auto backend = options_.make_backend
                     ? worker::Result<std::unique_ptr<worker::Backend>>(options_.make_backend())
                     : worker::make_backend(backend_options);
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
  load.max_kept_rows = worker::shadow_slots(options_.exits, sequences, drafts).end();
  load.max_positions = static_cast<std::int32_t>(options_.max_model_len);
  auto transformer = worker::Transformer::load(*config, load, **backend, ranks);
  LEADLINE_CHECK(transformer.has_value(), transformer.error().message.c_str());
  worker::PageGeometry geometry;
  geometry.layers = static_cast<std::uint32_t>(config->layers);
  geometry.local_kv_heads = static_cast<std::uint32_t>((*transformer)->local_kv_heads());
  geometry.pages = options_.pages;
  geometry.host_pages = options_.host_pages;
  auto pool = (*backend)->allocate_kv({geometry.pages * geometry.units_per_page(), config->head_dim,
                                       options_.kv_dtype, geometry.units_per_page()});
  LEADLINE_CHECK(pool.has_value(), pool.error().message.c_str());
  const auto compressor = options_.compression ? make_compressor(*config, geometry, **pool, ranks) : nullptr;
  worker::StepExecutor executor(**backend, **transformer, **pool, geometry, ranks, compressor.get());
  executor.use_exits(worker::shadow_slots(options_.exits, sequences, drafts));
  std::unique_ptr<worker::DraftGroup> draft_group;
  if (options_.draft_ranks > 0) {
    auto made = worker::DraftGroup::create(
        {*config, load, options_.exits, sequences, drafts, options_.pages, options_.kv_dtype}, **backend,
        ranks, **transformer);
    LEADLINE_CHECK(made.has_value(), made.error().message.c_str());
    draft_group = std::move(*made);
    executor.use_draft_group(draft_group.get());
  }
  const worker::UnitCodec codec = make_codec(**pool, options_.kv_codec);
  executor.use_codec(codec);
  if (options_.warm) warm(executor, load, ranks.rank(), (*transformer)->vocab());
  const std::string fingerprint =
      (*transformer)->fingerprint() + "-kv-" + std::string(transport::name_of(options_.kv_dtype));
  auto shard = worker::ShardPlan::make(*config, rank, options_.ranks);
  LEADLINE_CHECK(shard.has_value(), shard.error().message.c_str());
  worker::BlockGeometry blocks;
  blocks.layers = geometry.layers;
  blocks.local_kv_heads = geometry.local_kv_heads;
  blocks.first_kv_head = static_cast<std::uint32_t>(shard->kv_heads.begin);
  blocks.pages = geometry.pages;
  blocks.head_dim = static_cast<std::uint32_t>(config->head_dim);
  blocks.fingerprint = fingerprint;
  blocks.layout = std::string((*backend)->name());
  kvstore::TieredStore* store = open_store(rank, codec);
  std::unique_ptr<worker::BlockMover> mover;
  if (store != nullptr) {
    mover = std::make_unique<worker::BlockMover>(**backend, **pool, *store, blocks);
    executor.use_blocks(*mover, ranks);
  }
  if (rank > 0) return follow(ranks, executor, store);
  lead(ranks, executor, store, mover.get(), blocks, *config);
}

void WorkerHarness::lead(transport::Communicator& ranks, worker::StepExecutor& executor,
                         kvstore::TieredStore* store, worker::BlockMover* mover,
                         const worker::BlockGeometry& blocks, const worker::ModelConfig& model) {
  worker::LeadLimits limits;
  limits.intake.vocab = static_cast<std::uint32_t>(model.vocab);
  limits.intake.max_model_len = options_.max_model_len;
  limits.intake.eos_ids = model.eos_ids;
  limits.scheduler.max_sequences = options_.max_sequences;
  limits.scheduler.max_step_tokens = options_.step_tokens;
  limits.scheduler.min_chunk_tokens = options_.min_chunk_tokens;
  limits.scheduler.total_pages = options_.pages;
  limits.scheduler.max_draft_rows = limits.speculation.step_drafts = options_.max_draft_rows;
  limits.speculation.exits = options_.exits;
  limits.speculation.guarded = options_.guarded;
  limits.speculation.explore = options_.explore;
  std::optional<policy::TrajectoryLog> log;
  if (!options_.experience_directory.empty()) {
    auto opened = policy::TrajectoryLog::open(
        options_.experience_directory, {"test", "test", options_.explore, model.layers, options_.exits});
    LEADLINE_CHECK(opened.has_value(), opened.error().message.c_str());
    log.emplace(std::move(*opened));
  }
  limits.speculation.layers = model.layers;
  if (options_.compression) limits.compression = compression_rules(model, options_);
  worker::SequenceCacheOptions cache_options{options_.pages, options_.host_pages, options_.prefix_cache,
                                             blocks.fingerprint, store != nullptr};
  cache_options.lossy_codec = worker::UnitCodec::chain_id(*kvstore::codec_named(options_.kv_codec));
  if (!cache_options.lossy_codec.empty()) cache_options.group_tokens = worker::UnitCodec::kGroupTokens;
  worker::SequenceCache cache(cache_options);
  std::unique_ptr<worker::PrefixFetcher> fetcher;
  if (store != nullptr) {
    worker::PrefixFetcherOptions fetching;
    fetching.local_kv_heads = blocks.local_kv_heads;
    fetching.first_kv_head = blocks.first_kv_head;
    fetcher = std::make_unique<worker::PrefixFetcher>(*store, *mover, cache, fetching,
                                                      worker::PrefixFetcherMetrics::create(registry_));
    store->set_notifier([this] { inbox_.poke(); });
  }
  worker::LeadLoop loop({inbox_,
                         outbox_,
                         status_,
                         metrics_,
                         health_,
                         ranks,
                         executor,
                         cache,
                         {&policy_, log ? &*log : nullptr, &metrics_.speculation},
                         fetcher.get()},
                        limits);
  auto done = loop.run();
  LEADLINE_CHECK(done.has_value(), done.error().message.c_str());
  if (store != nullptr) store->close(std::chrono::seconds(5));
}

void WorkerHarness::wait_stored() {
  // A one-token request of its own makes a plan that carries what is still to be sealed.
  transport::Generate nudge;
  nudge.prompt = {1, 2, 3};
  nudge.max_tokens = 2;
  nudge.ignore_eos = true;
  run({nudge});
  for (const auto& store : stores_)
    if (store != nullptr) store->wait_idle();
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
