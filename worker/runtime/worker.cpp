#include "worker/runtime/worker.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>

#include "monitoring/admin_server.h"
#include "monitoring/log.h"
#include "monitoring/process_metrics.h"
#include "policy/fixed_policy.h"
#include "transport/collective/bootstrap.h"
#include "transport/collective/nccl_communicator.h"
#include "transport/control/control_secret.h"
#include "worker/compression/delimiters.h"
#include "worker/model/shard_plan.h"
#include "worker/model/token_strings.h"
#include "worker/runtime/block_store.h"
#include "worker/runtime/follow_loop.h"
#include "worker/runtime/lead_loop.h"
#include "worker/runtime/memory_plan.h"
#include "worker/runtime/policy_control.h"
#include "worker/runtime/signals.h"
#include "worker/runtime/step_size.h"
#include "worker/runtime/task_weights.h"
#include "worker/runtime/warm_up.h"
#include "worker/runtime/weight_cache.h"
#include "worker/serving/control_service.h"
#include "worker/speculative/candidate_exits.h"

namespace leadline::worker {
namespace {

using monitoring::StartupPhase;
using transport::WorkerPhase;

LinkEnd end_of(transport::Errc code) {
  if (code == transport::Errc::refused) return LinkEnd::refused;
  if (code == transport::Errc::timeout) return LinkEnd::timeout;
  if (code == transport::Errc::malformed || code == transport::Errc::too_large) return LinkEnd::malformed;
  return LinkEnd::peer_closed;
}

// One rank's parts, in the order in which they are made; destroyed in the opposite one.
class Rank {
 public:
  explicit Rank(const WorkerConfig& config)
      : config_(config), inbox_(static_cast<std::size_t>(config.inbox_capacity)) {}

  Result<void> start();
  Result<void> serve();
  void end_requested(int times);
  [[nodiscard]] bool leads() const { return ranks_->rank() == 0; }
  void set_phase(StartupPhase phase, WorkerPhase wire) {
    health_.set_phase(phase);
    status_.phase = wire;
    if (leads()) publish_phase(phase);
  }

 private:
  void publish_phase(StartupPhase phase);
  Result<void> start_admin();
  Result<void> load_model();
  Result<void> choose_exits();
  Result<void> choose_policy();
  Result<std::optional<policy::TrajectoryLog>> open_experience();
  Result<void> size_memory();
  Result<void> make_draft_group();
  Result<void> make_compressor();
  [[nodiscard]] CompressionRules compression_rules() const;
  [[nodiscard]] WarmUpLimits warm_up_limits() const;
  Result<void> grow_scratch();
  Result<void> warm_up();
  Result<void> lead();
  [[nodiscard]] Result<std::uint32_t> least_over_ranks(std::uint32_t mine);
  Result<void> open_store();
  void close_store();
  [[nodiscard]] std::string fingerprint() const;
  [[nodiscard]] LeadLimits lead_limits() const;
  // With one rank every draft is without collectives anyway.
  [[nodiscard]] bool drafts_alone() const {
    return config_.draft_ranks > 0 && ranks_->size() > 1 && !exits_.empty();
  }

  const WorkerConfig config_;
  monitoring::MetricsRegistry registry_;
  monitoring::ProcessHealth health_;
  WorkerMetrics metrics_;
  WorkerStatus status_;
  RequestInbox inbox_;
  TokenOutbox outbox_;
  PolicyControl policy_control_;
  std::unique_ptr<monitoring::AdminServer> admin_;
  std::unique_ptr<transport::Communicator> ranks_;
  transport::HostPlace on_host_;
  std::unique_ptr<Backend> backend_;
  ModelConfig model_;
  TransformerOptions load_options_;
  std::vector<std::int32_t> exits_;  // candidates; empty: nobody drafts
  std::unique_ptr<Transformer> transformer_;
  DType kv_dtype_ = DType::bf16;
  std::uint32_t max_model_len_ = 0;
  std::int32_t step_tokens_ = 0;
  std::unique_ptr<KvPool> pool_;
  PageGeometry geometry_;
  std::unique_ptr<DraftGroup> draft_group_;  // null: all ranks draft
  std::unique_ptr<Compressor> compressor_;   // null: see compression_unavailable_
  std::string compression_unavailable_;
  std::optional<UnitCodec> codec_;
  std::unique_ptr<StepExecutor> executor_;
  std::unique_ptr<kvstore::TieredStore> store_;  // null: no tier is on
  std::unique_ptr<BlockMover> mover_;
  std::uint32_t first_kv_head_ = 0;
  std::atomic<bool> serving_{false};
  // Only while starting, so only this thread: a signal's phases come after `ready`.
  StartupPhase starting_phase_ = StartupPhase::starting;
  std::chrono::steady_clock::time_point phase_since_ = std::chrono::steady_clock::now();
};

void Rank::publish_phase(StartupPhase phase) {
  metrics_.startup_phase.set(phase);
  if (phase > StartupPhase::ready || starting_phase_ >= StartupPhase::ready) return;
  const auto now = std::chrono::steady_clock::now();
  metrics_.startup_seconds[starting_phase_].set(std::chrono::duration<double>(now - phase_since_).count());
  starting_phase_ = phase;
  phase_since_ = now;
}

Result<void> Rank::start() {
  transport::BootstrapOptions options;
  options.stall_limit = std::chrono::milliseconds(config_.stall_limit_ms);
  options.connect_limit = std::chrono::milliseconds(config_.connect_limit_ms);
  options.launch = {config_.rank, config_.world, config_.rendezvous};
  auto ranks = transport::bootstrap(options);
  if (!ranks) return monitoring::fail(Errc::configuration, ranks.error().message);
  ranks_ = std::move(*ranks);
  on_host_ = transport::host_place(transport::process_environment, ranks_->host_place());
  monitoring::LogOptions log;
  log.json = config_.log_json;
  log.process = "worker " + std::to_string(config_.worker_index) + " rank " + std::to_string(ranks_->rank());
  monitoring::init_log(log);
  if (auto admin = start_admin(); !admin) return admin;
  set_phase(StartupPhase::loading, WorkerPhase::loading);
  if (auto loaded = load_model(); !loaded) return loaded;
  set_phase(StartupPhase::warming, WorkerPhase::warming);
  if (auto sized = size_memory(); !sized) return sized;
  if (auto opened = open_store(); !opened) return opened;
  return warm_up();
}

Result<void> Rank::start_admin() {
  if (!leads()) return {};
  metrics_ = WorkerMetrics::create(registry_, health_);
  monitoring::register_process_metrics(registry_, "worker");
  health_.set_stall_limit(std::chrono::milliseconds(config_.stall_limit_ms));
  metrics_.ranks.set(ranks_->size());
  if (config_.admin_port < 0) return {};
  monitoring::AdminOptions options;
  options.host = config_.admin_host;
  options.port = static_cast<std::uint16_t>(config_.admin_port);
  auto admin = monitoring::AdminServer::start(options, registry_, health_,
                                              policy_control_.routes(metrics_.speculation));
  if (!admin) return monitoring::fail(Errc::configuration, "--admin-port: " + admin.error().message);
  admin_ = std::move(*admin);
  monitoring::log_info("admin server", {{"host", config_.admin_host}, {"port", admin_->port()}});
  return {};
}

Result<void> Rank::load_model() {
  auto model = ModelConfig::load(config_.model_directory);
  if (!model) return tl::unexpected(model.error());
  model_ = std::move(*model);
  const std::int32_t asked = config_.max_model_len;
  if (asked > model_.max_positions)
    return monitoring::fail(Errc::configuration, "--max-model-len " + std::to_string(asked) +
                                                     ": the model has " +
                                                     std::to_string(model_.max_positions) + " positions");
  max_model_len_ = static_cast<std::uint32_t>(asked == 0 ? model_.max_positions : asked);
  BackendOptions options;
  options.device = config_.device;
  options.threads = config_.threads;
  options.gpu_memory_utilization = config_.gpu_memory_utilization;
  options.rank_invariant = config_.rank_invariant;
  options.record_steps = config_.graphs;
  options.poison = config_.poison;
  options.log = [](std::string_view line) { monitoring::log_info("backend", {{"says", line}}); };
  options.ranks_on_host = on_host_.ranks;
  options.rank_on_host = on_host_.rank;
  auto backend = make_backend(options);
  if (!backend) return tl::unexpected(backend.error());
  backend_ = std::move(*backend);
  if (backend_->stream() != nullptr && ranks_->size() > 1) {  // tensors lie in GPUs: NCCL carries them
    auto wrapped =
        transport::wrap_for_device(std::move(ranks_), std::chrono::milliseconds(config_.stall_limit_ms));
    if (!wrapped) return monitoring::fail(Errc::configuration, wrapped.error().message);
    ranks_ = std::move(*wrapped);
  }
  step_tokens_ = choose_step_tokens({config_.step_tokens, config_.max_sequences,
                                     !backend_->host_addressable(), on_host_.ranks == ranks_->size()});
  TransformerOptions& load = load_options_;
  load.model_directory = config_.model_directory;
  load.weights = config_.weights;
  keep_packed_weights(config_, load);
  load.max_rows = step_tokens_;
  if (auto exits = choose_exits(); !exits) return exits;
  load.max_logit_rows = std::min(step_tokens_, config_.max_sequences + config_.max_draft_rows);
  load.max_kept_rows = shadow_slots(exits_, config_.max_sequences, config_.max_draft_rows).end();
  load.max_positions = static_cast<std::int32_t>(max_model_len_);
  load.progress = [this](std::uint64_t done, std::uint64_t total) {
    health_.set_progress(done, total);
    status_.loaded_bytes = done;
    status_.total_bytes = total;
  };
  auto transformer = Transformer::load(model_, load, *backend_, *ranks_);
  if (!transformer) return tl::unexpected(transformer.error());
  transformer_ = std::move(*transformer);
  metrics_.weight_bytes.set(static_cast<double>(transformer_->weight_bytes()));
  // "auto" follows the weights where they have a format that pages have without scales; else the checkpoint.
  const std::string kv = config_.kv_dtype != "auto" ? config_.kv_dtype : config_.weights;
  kv_dtype_ = model_.dtype;
  for (const DType plain : {DType::f32, DType::bf16, DType::f16})
    if (kv == transport::name_of(plain)) kv_dtype_ = plain;
  for (const DType scaled : {DType::i8, DType::fp8})
    if (config_.kv_dtype == transport::name_of(scaled)) kv_dtype_ = scaled;
  return {};
}

Result<void> Rank::choose_exits() {
  if (config_.max_draft_rows == 0) return {};
  exits_ = config_.exits;
  const std::string trained = "file:" + config_.policy_file;
  for (const std::string& policy : {trained, config_.speculation})
    if (exits_.empty()) exits_ = exits_of_policy(policy, config_.model_directory, model_.layers);
  if (exits_.empty()) exits_ = default_exits(model_.layers);
  if (exits_.size() > policy::kMaxExits)
    return monitoring::fail(Errc::configuration, "--exits has " + std::to_string(exits_.size()) +
                                                     " layers, possible are " +
                                                     std::to_string(policy::kMaxExits));
  for (std::size_t i = 0; i < exits_.size(); ++i)
    if (exits_[i] >= model_.layers || (i > 0 && exits_[i] <= exits_[i - 1]))
      return monitoring::fail(Errc::configuration, "--exits " + std::to_string(exits_[i]) +
                                                       ": layers ascend, below the model's " +
                                                       std::to_string(model_.layers));
  return {};
}

Result<std::uint32_t> Rank::least_over_ranks(std::uint32_t mine) {
  std::vector<std::uint32_t> all(static_cast<std::size_t>(ranks_->size()));
  auto gathered =
      ranks_->all_gather(std::as_bytes(std::span(&mine, 1)), std::as_writable_bytes(std::span(all)), nullptr);
  if (!gathered) return monitoring::fail(Errc::rank_lost, gathered.error().message);
  return *std::min_element(all.begin(), all.end());
}

Result<void> Rank::size_memory() {
  geometry_.layers = static_cast<std::uint32_t>(model_.layers);
  geometry_.local_kv_heads = static_cast<std::uint32_t>(transformer_->local_kv_heads());
  if (auto grown = grow_scratch(); !grown) return grown;
  auto probe = backend_->allocate_kv({1, model_.head_dim, kv_dtype_});
  if (!probe) return tl::unexpected(probe.error());
  MemoryRequest request;
  request.kv_pool_bytes = config_.kv_pool_bytes;
  request.swap_bytes = config_.swap_bytes;
  request.page_bytes = (*probe)->unit_bytes() * geometry_.units_per_page();
  if (leads() && drafts_alone())  // pages of the copy lie beside those of the model
    request.page_bytes += (*probe)->unit_bytes() * std::int64_t{exits_.back()} * model_.kv_heads;
  request.available_bytes = available_memory_bytes();
  if (request.available_bytes > 0)  // 0: unknown
    request.available_bytes = std::max<std::int64_t>(
        1, request.available_bytes - transformer_->weight_bytes_to_come() * on_host_.ranks);
  request.device_bytes = backend_->free_bytes();
  request.ranks_on_host = on_host_.ranks;
  request.max_sequences = config_.max_sequences;
  request.max_model_len = static_cast<std::int32_t>(max_model_len_);
  auto planned = plan_memory(request);
  // Every rank takes part in the collectives, also one whose plan failed: 0 pages tell the others.
  auto pages = least_over_ranks(planned ? planned->pages : 0);
  auto host_pages = least_over_ranks(planned ? planned->host_pages : 0);
  if (!planned) return tl::unexpected(planned.error());
  if (!pages || !host_pages) return tl::unexpected(pages ? host_pages.error() : pages.error());
  if (*pages == 0) return monitoring::fail(Errc::out_of_memory, "another rank has no room for KV pages");
  geometry_.pages = *pages;
  geometry_.host_pages = *host_pages;
  auto pool = backend_->allocate_kv(
      {geometry_.pages * geometry_.units_per_page(), model_.head_dim, kv_dtype_, geometry_.units_per_page()});
  if (!pool) return tl::unexpected(pool.error());
  pool_ = std::move(*pool);
  auto codec = UnitCodec::of(*pool_, *kvstore::codec_named(config_.kv_codec));
  if (!codec) return tl::unexpected(codec.error());
  codec_.emplace(std::move(*codec));
  if (auto made = make_compressor(); !made) return made;
  executor_ =
      std::make_unique<StepExecutor>(*backend_, *transformer_, *pool_, geometry_, *ranks_, compressor_.get());
  executor_->use_codec(*codec_);
  executor_->use_exits(shadow_slots(exits_, config_.max_sequences, config_.max_draft_rows));
  if (auto made = make_draft_group(); !made) return made;
  metrics_.kv_pool_bytes.set(static_cast<double>(request.page_bytes) * geometry_.pages);
  monitoring::log_info("memory", {{"weight_bytes", transformer_->weight_bytes()},
                                  {"kv_pages", geometry_.pages},
                                  {"kv_bytes", request.page_bytes * geometry_.pages},
                                  {"kv_tokens", geometry_.pages * kPageTokens},
                                  {"swap_pages", geometry_.host_pages},
                                  {"kv_dtype", transport::name_of(kv_dtype_)}});
  return {};
}

Result<void> Rank::make_draft_group() {
  if (!drafts_alone()) return {};
  auto group = DraftGroup::create({model_, load_options_, exits_, config_.max_sequences,
                                   config_.max_draft_rows, geometry_.pages, kv_dtype_},
                                  *backend_, *ranks_, *transformer_);
  if (!group) return tl::unexpected(group.error());
  draft_group_ = std::move(*group);
  executor_->use_draft_group(draft_group_.get());
  return {};
}

// Where pages cannot be compressed, requests that ask for it are told why; only a server default ends the
// start.
Result<void> Rank::make_compressor() {
  auto made = Compressor::make({.layers = geometry_.layers,
                                .kv_heads = static_cast<std::uint32_t>(model_.kv_heads),
                                .query_heads = static_cast<std::uint32_t>(model_.query_heads),
                                .local_kv_heads = geometry_.local_kv_heads,
                                .pages = geometry_.pages},
                               *pool_, *ranks_);
  if (made)
    compressor_ = std::move(*made);
  else
    compression_unavailable_ = made.error().message;
  for (std::int32_t layer = 0; layer < model_.layers; ++layer)
    if (model_.window_of(layer) > 0) compression_unavailable_ = "the model's attention has a sliding window";
  if (kvstore::lossy(codec_->codec()))
    compression_unavailable_ = "--kv-codec " + config_.kv_codec + " quantises pages by groups";
  if (drafts_alone()) compression_unavailable_ = "a draft rank keeps an exact copy of all KV";
  const std::string& method = config_.kv_compression;
  if (method == "exact") return {};
  if (find_method(method) == nullptr)
    return monitoring::fail(Errc::configuration,
                            "--kv-compression " + method + ": known are exact, " + method_names());
  if (!compression_unavailable_.empty())
    return monitoring::fail(Errc::configuration,
                            "--kv-compression " + method + ": " + compression_unavailable_);
  return {};
}

CompressionRules Rank::compression_rules() const {
  CompressionRules rules;
  rules.unavailable = compression_unavailable_;
  rules.default_method = config_.kv_compression;
  rules.default_budget = static_cast<float>(config_.kv_compression_budget);
  rules.layers = geometry_.layers;
  rules.total_pages = geometry_.pages;
  auto strings = token_strings(config_.model_directory, static_cast<std::size_t>(model_.vocab));
  if (!strings) {
    monitoring::log_info("no delimiters: text is cut every 64 tokens", {{"why", strings.error().message}});
    return rules;
  }
  if (auto tasks = read_task_weights(config_.model_directory, *strings); tasks)
    rules.tasks = std::move(*tasks);
  else if (tasks.error().code != Errc::not_found)
    monitoring::log_warn("windowkv takes every prompt for a search", {{"why", tasks.error().message}});
  for (std::string& text : *strings) text = bytes_of_token(text);
  rules.delimiters = delimiter_flags(*strings);
  return rules;
}

WarmUpLimits Rank::warm_up_limits() const {
  WarmUpLimits limits;
  limits.max_sequences = config_.max_sequences;
  limits.step_tokens = step_tokens_;
  limits.max_model_len = static_cast<std::int32_t>(max_model_len_);
  limits.device = !backend_->host_addressable();
  limits.records = limits.device && config_.graphs && !config_.poison;
  limits.exits = exits_;
  limits.max_draft_rows = config_.max_draft_rows;
  return limits;
}

// A device's scratch takes its place before pages get the rest: the largest step runs on a pool of one page.
Result<void> Rank::grow_scratch() {
  if (backend_->host_addressable()) return {};
  auto pool = backend_->allocate_kv({geometry_.units_per_page(), model_.head_dim, kv_dtype_});
  if (!pool) return tl::unexpected(pool.error());
  PageGeometry one = geometry_;
  one.pages = 1;
  StepExecutor executor(*backend_, *transformer_, **pool, one, *ranks_);
  WarmUpLimits limits = warm_up_limits();
  limits.records = false;
  return worker::warm_up(executor, limits, {leads(), model_.vocab, load_options_.max_logit_rows, {}});
}

Result<void> Rank::warm_up() {
  // Of this phase: /startupz tells the phase, too.
  const auto progress = [this](std::size_t done, std::size_t all) { health_.set_progress(done, all); };
  return worker::warm_up(*executor_, warm_up_limits(),
                         {leads(), model_.vocab, load_options_.max_logit_rows, progress});
}

// A broken file beside the model stops nothing: rank 0 says so and serves without.
Result<void> Rank::choose_policy() {
  const PolicySource source{{transformer_->identity(), model_.layers},
                            transformer_->fingerprint(),
                            config_.model_directory,
                            !drafts_alone()};
  if (!config_.policy_file.empty() && std::filesystem::exists(config_.policy_file)) {
    const std::string text = "file:" + config_.policy_file;
    auto trained = policy_from_text(text, source);
    if (trained) {
      policy_control_.serve(source, text, std::move(*trained));
      return {};
    }
    monitoring::log_warn("policy file refused", {{"why", trained.error().message}});
  }
  auto policy = policy_from_text(config_.speculation, source);
  if (!policy && config_.speculation != "auto") return tl::unexpected(policy.error());
  if (!policy) {
    monitoring::log_warn("exit policy refused", {{"why", policy.error().message}});
    policy = std::shared_ptr<const policy::ExitPolicy>(policy::make_off_policy());
  }
  policy_control_.serve(source, config_.speculation, std::move(*policy));
  return {};
}

Result<std::optional<policy::TrajectoryLog>> Rank::open_experience() {
  if (config_.experience_directory.empty()) return std::optional<policy::TrajectoryLog>();
  policy::TrajectoryHeader header{transformer_->identity(), config_.speculation,
                                  static_cast<float>(config_.explore), model_.layers, exits_};
  auto log = policy::TrajectoryLog::open(config_.experience_directory, std::move(header));
  if (!log) return monitoring::fail(Errc::configuration, "--experience: " + log.error().message);
  return std::optional<policy::TrajectoryLog>(std::move(*log));
}

LeadLimits Rank::lead_limits() const {
  LeadLimits limits;
  limits.intake.vocab = static_cast<std::uint32_t>(model_.vocab);
  limits.intake.max_model_len = max_model_len_;
  limits.intake.eos_ids = model_.eos_ids;
  limits.scheduler.max_sequences = static_cast<std::uint32_t>(config_.max_sequences);
  limits.scheduler.max_step_tokens = static_cast<std::uint32_t>(step_tokens_);
  limits.scheduler.total_pages = geometry_.pages;
  limits.scheduler.max_draft_rows = static_cast<std::uint32_t>(config_.max_draft_rows);
  limits.speculation.exits = exits_;
  limits.speculation.layers = model_.layers;
  limits.speculation.step_drafts = limits.scheduler.max_draft_rows;
  limits.speculation.guarded = config_.speculation_guard;
  limits.speculation.explore = static_cast<float>(config_.explore);
  if (!exits_.empty()) limits.speculation.fixed = policy::make_static_policy(exits_[exits_.size() / 2], 4);
  limits.compression = compression_rules();
  limits.max_live_requests = static_cast<std::size_t>(config_.max_live_requests);
  limits.drain_limit = std::chrono::milliseconds(config_.drain_ms);
  return limits;
}

Result<void> Rank::lead() {
  auto secret = transport::read_control_secret(config_.control_secret_file);
  if (!secret) return monitoring::fail(Errc::configuration, secret.error().message);
  ControlServiceOptions options;
  options.server.listen = config_.listen;
  options.server.secret = *secret;
  options.on_links = [this](std::size_t links) { metrics_.links.set(static_cast<double>(links)); };
  options.on_link_ended = [this](const transport::Error& why) {
    metrics_.links_ended[end_of(why.code)].inc();
  };
  transport::Welcome& identity = options.identity;
  identity.model_fingerprint = fingerprint();
  identity.served_model_name =
      config_.served_model_name.empty()
          ? std::filesystem::weakly_canonical(config_.model_directory).filename().string()
          : config_.served_model_name;
  identity.max_model_len = max_model_len_;
  identity.max_sequences = static_cast<std::uint32_t>(config_.max_sequences);
  identity.ranks = static_cast<std::uint32_t>(ranks_->size());
  identity.vocab_size = static_cast<std::uint32_t>(model_.vocab);
  identity.page_tokens = kPageTokens;
  SequenceCacheOptions cache_options;
  cache_options.pages = geometry_.pages;
  cache_options.host_pages = geometry_.host_pages;
  cache_options.prefix_reuse = config_.prefix_cache;
  cache_options.model_fingerprint = identity.model_fingerprint;
  cache_options.seal_blocks = store_ != nullptr;
  cache_options.lossy_codec = UnitCodec::chain_id(codec_->codec());
  if (!cache_options.lossy_codec.empty()) cache_options.group_tokens = UnitCodec::kGroupTokens;
  SequenceCache cache(cache_options);
  publish_config_info(
      registry_, {identity.served_model_name, config_.weights, std::string(transport::name_of(kv_dtype_)),
                  std::string(backend_->name()), std::to_string(max_model_len_),
                  std::to_string(config_.max_sequences), std::to_string(config_.threads)});
  if (auto chosen = choose_policy(); !chosen) return chosen;
  auto log = open_experience();
  if (!log) return tl::unexpected(log.error());
  std::unique_ptr<PrefixFetcher> fetcher;
  if (store_ != nullptr) {
    const PrefixFetcherOptions fetching{.local_kv_heads = geometry_.local_kv_heads,
                                        .first_kv_head = first_kv_head_};
    const auto counts = PrefixFetcherMetrics::create(registry_);
    auto asked = open_access_log(config_, counts.accesses);
    if (!asked) return tl::unexpected(asked.error());
    fetcher = std::make_unique<PrefixFetcher>(*store_, *mover_, cache, fetching, counts, std::move(*asked));
    store_->set_notifier([this] { inbox_.poke(); });
  }
  const SpeculationParts speculation{&policy_control_.slot(), log->has_value() ? &**log : nullptr,
                                     &metrics_.speculation};
  LeadLoop loop(
      {inbox_, outbox_, status_, metrics_, health_, *ranks_, *executor_, cache, speculation, fetcher.get()},
      lead_limits());
  auto service = ControlService::open(std::move(options), inbox_, outbox_, status_);
  if (!service) return tl::unexpected(service.error());
  outbox_.set_notifier([&control = **service](LinkId link) { control.flush(link); });
  set_phase(StartupPhase::ready, WorkerPhase::ready);
  std::printf("worker listening on %s:%u\n", config_.listen.substr(0, config_.listen.rfind(':')).c_str(),
              (*service)->port());
  std::fflush(stdout);
  auto done = loop.run();
  set_phase(done ? StartupPhase::draining : StartupPhase::failed,
            done ? WorkerPhase::draining : WorkerPhase::failed);
  (*service)->announce_status();
  if (done) (*service)->shut_down(std::chrono::milliseconds(2'000));
  outbox_.set_notifier(nullptr);
  close_store();
  return done;
}

std::string Rank::fingerprint() const {
  return transformer_->fingerprint() + "-kv-" + std::string(transport::name_of(kv_dtype_));
}

Result<void> Rank::open_store() {
  if (!config_.prefix_cache) return {};
  kvstore::StoreMetrics metrics =
      leads() ? kvstore::StoreMetrics::create(registry_) : kvstore::StoreMetrics{};
  auto store = open_block_store(config_, ranks_->size(), std::move(metrics), *codec_);
  if (!store) return tl::unexpected(store.error());
  store_ = std::move(*store);
  if (store_ == nullptr) return {};
  auto shard = ShardPlan::make(model_, ranks_->rank(), ranks_->size());
  if (!shard) return tl::unexpected(shard.error());
  first_kv_head_ = static_cast<std::uint32_t>(shard->kv_heads.begin);
  BlockGeometry geometry;
  geometry.layers = geometry_.layers;
  geometry.local_kv_heads = geometry_.local_kv_heads;
  geometry.first_kv_head = first_kv_head_;
  geometry.pages = geometry_.pages;
  geometry.head_dim = static_cast<std::uint32_t>(model_.head_dim);
  geometry.fingerprint = fingerprint();
  geometry.layout = std::string(backend_->name());
  mover_ = std::make_unique<BlockMover>(*backend_, *pool_, *store_, std::move(geometry));
  executor_->use_blocks(*mover_, *ranks_);
  return {};
}

// What waits to be stored is what the next start finds.
void Rank::close_store() {
  constexpr std::chrono::milliseconds kPatience{5'000};
  if (store_ != nullptr) store_->close(kPatience);
}

Result<void> Rank::serve() {
  serving_ = true;
  if (leads()) return lead();
  auto done = follow(*ranks_, *executor_);
  close_store();
  return done;
}

void Rank::end_requested(int times) {
  if (!serving_.load()) _exit(kExitFailed);  // still loading: nothing to save
  if (!leads()) return;                      // followers leave when rank 0 says so or is gone
  if (times == 1) {
    set_phase(StartupPhase::draining, WorkerPhase::draining);
    inbox_.push_drain();
  } else {
    inbox_.close();
  }
}

}  // namespace

int run_worker(const WorkerConfig& config) {
  block_signals();
  Rank rank(config);
  SignalThread signals([&rank](int times) { rank.end_requested(times); });
  auto done = rank.start();
  if (done) done = rank.serve();
  if (done) return 0;
  monitoring::log_error("worker ends", {{"why", done.error().message}});
  const Errc code = done.error().code;
  const bool hopeless = code == Errc::configuration || code == Errc::unsupported_model ||
                        code == Errc::malformed_file || code == Errc::not_found ||
                        code == Errc::out_of_memory;
  // The group is dead or will never live: destructors could wait for ranks that are gone.
  std::fflush(nullptr);
  _exit(hopeless ? kExitConfiguration : kExitFailed);
}

}  // namespace leadline::worker
