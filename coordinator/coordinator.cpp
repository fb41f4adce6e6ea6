#include "coordinator/coordinator.h"

#include <sys/resource.h>

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <csignal>
#include <ctime>
#include <map>

#include "coordinator/http/api.h"
#include "coordinator/http/listener.h"
#include "coordinator/services.h"
#include "monitoring/admin_server.h"
#include "monitoring/log.h"
#include "monitoring/process_metrics.h"
#include "transport/control/control_secret.h"

namespace leadline::coordinator {

namespace {

namespace asio = boost::asio;
using monitoring::StartupPhase;

constexpr std::chrono::milliseconds kTick{50};
constexpr std::uint64_t kReloadEveryMs = 2'000;
constexpr std::uint64_t kInsistGraceMs = 2'000;  // error events -> sockets close

std::uint64_t steady_ms() {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(
                                        std::chrono::steady_clock::now().time_since_epoch())
                                        .count());
}

// Connections, files and workers together need more than the usual soft limit of 1024 descriptors.
void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max == RLIM_INFINITY ? 65'536 : limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

std::vector<transport::TokenId> holes_of(const Tokenizer& tokenizer) {
  std::vector<transport::TokenId> holes;
  for (std::size_t id = 0; id < tokenizer.vocab_size(); ++id) {
    if (tokenizer.id_to_token(static_cast<transport::TokenId>(id)).empty())
      holes.push_back(static_cast<transport::TokenId>(id));
  }
  return holes;
}

std::string url_of(bool tls, const std::string& host, std::uint16_t port) {
  const bool v6 = host.find(':') != std::string::npos;
  return std::string(tls ? "https://" : "http://") + (v6 ? "[" + host + "]" : host) + ":" +
         std::to_string(port);
}

class CoordinatorProcess final : public Coordinator {
 public:
  CoordinatorProcess(CoordinatorConfig config, CoordinatorParts parts, ServedModel model)
      : config_(std::move(config)),
        parts_(std::move(parts)),
        model_(std::move(model)),
        metrics_(CoordinatorMetrics::create(registry_)),
        text_pool_(config_.text_threads),
        tick_(io_),
        signals_(io_, SIGTERM, SIGINT, SIGHUP) {}
  ~CoordinatorProcess() override {
    text_pool_.stop();
    text_pool_.join();
    if (admin_) admin_->stop();
    listener_.reset();
  }

  Result<void> init();
  void run() override;
  void drain() override {
    asio::post(io_, [this] { begin_drain(); });
  }
  void stop() override {
    asio::post(io_, [this] { io_.stop(); });
  }
  std::string url() const override { return url_of(tls_ != nullptr, config_.host, listener_->port()); }
  std::string admin_url() const override {
    return admin_ ? url_of(false, config_.admin_host, admin_->port()) : "";
  }

 private:
  Result<void> open_services(const std::string& secret);
  Result<void> open_ports();
  void on_signal();
  void on_fleet_change();
  void wake();
  void on_tick();
  void reload(bool force);
  void begin_drain();
  void check_drain();

  // constant after init
  const CoordinatorConfig config_;
  CoordinatorParts parts_;
  const ServedModel model_;
  monitoring::MetricsRegistry registry_;
  const CoordinatorMetrics metrics_;
  monitoring::ProcessHealth health_;
  // the io_context goes after everything that its handlers may touch when they are destroyed
  asio::io_context io_{1};
  asio::thread_pool text_pool_;
  asio::steady_timer tick_;
  asio::signal_set signals_;
  std::unique_ptr<TlsContext> tls_;
  std::unique_ptr<ApiKeys> keys_;
  std::unique_ptr<Fleet> fleet_;
  std::unique_ptr<Dispatcher> dispatcher_;  // before fleet_ in destruction: it abandons its placements
  std::unique_ptr<SessionTable> sessions_;
  KvHistory kv_history_;
  std::unique_ptr<Services> services_;
  std::unique_ptr<Api> api_;
  std::unique_ptr<Listener> listener_;
  std::unique_ptr<monitoring::AdminServer> admin_;
  // owned by the I/O thread
  std::vector<std::function<bool()>> every_tick_;
  std::map<std::uint32_t, WorkerLinkMetrics> worker_metrics_;
  std::map<std::uint32_t, bool> worker_connected_;
  std::uint64_t next_reload_ms_ = 0, drain_started_ms_ = 0;
  bool wake_posted_ = false, draining_ = false, insisted_ = false;
};

Result<void> CoordinatorProcess::init() {
  raise_descriptor_limit();
  std::signal(SIGPIPE, SIG_IGN);
  health_.set_phase(StartupPhase::loading);
  monitoring::register_process_metrics(registry_, "coordinator");
  auto secret = transport::read_control_secret(config_.control_secret_file);
  if (!secret) return fail(Errc::configuration, secret.error().message);
  if (auto opened = open_services(*secret); !opened) return opened;
  return open_ports();
}

Result<void> CoordinatorProcess::open_services(const std::string& secret) {
  if (!config_.api_key_file.empty()) {
    auto keys = ApiKeys::load(config_.api_key_file, secret);
    if (!keys) return tl::unexpected(keys.error());
    keys_ = std::move(*keys);
  }
  if (!config_.tls_cert.empty()) {
    auto tls = TlsContext::load(config_.tls_cert, config_.tls_key);
    if (!tls) return tl::unexpected(tls.error());
    tls_ = std::move(*tls);
  }
  dispatcher_ = std::make_unique<Dispatcher>(config_.limits, *parts_.tokenizer, metrics_, steady_ms,
                                             [this] { wake(); });
  auto fleet = parts_.open_fleet(io_, [this] { on_fleet_change(); });
  if (!fleet) return tl::unexpected(fleet.error());
  fleet_ = std::move(*fleet);
  dispatcher_->set_fleet(fleet_.get());
  sessions_ = std::make_unique<SessionTable>(config_.limits);
  const auto offload = [this](std::function<void()> work, std::function<void()> then) {
    asio::post(text_pool_, [this, work = std::move(work), then = std::move(then)]() mutable {
      work();
      work = nullptr;
      asio::post(io_, std::move(then));
    });
  };
  const auto every_tick = [this](std::function<bool()> each) { every_tick_.push_back(std::move(each)); };
  services_ = std::unique_ptr<Services>(
      new Services{config_.limits, model_, *parts_.tokenizer, parts_.chat_template.get(), metrics_,
                   *dispatcher_, *sessions_, kv_history_, keys_.get(), steady_ms,
                   [] { return static_cast<std::int64_t>(std::time(nullptr)); }, offload, every_tick,
                   holes_of(*parts_.tokenizer), config_.console, config_.kv_compression});
  api_ = std::make_unique<Api>(*services_);
  return {};
}

Result<void> CoordinatorProcess::open_ports() {
  auto context = std::shared_ptr<ConnectionContext>(new ConnectionContext{
      config_.limits,
      {[this](const HttpRequest& request) { return api_->check_head(request); },
       [this](std::shared_ptr<Exchange> exchange) { api_->handle(std::move(exchange)); }},
      metrics_});
  auto listener = Listener::open(io_, config_.host, config_.port, tls_.get(), std::move(context));
  if (!listener) return tl::unexpected(listener.error());
  listener_ = std::move(*listener);
  publish_config_info(registry_, {model_.names.front(), std::to_string(model_.max_model_len),
                                  std::to_string(config_.limits.waiting_requests), tls_ ? "yes" : "no",
                                  keys_ ? "yes" : "no"});
  if (!config_.admin) return {};
  monitoring::AdminOptions options;
  options.host = config_.admin_host;
  options.port = config_.admin_port;
  auto admin = monitoring::AdminServer::start(options, registry_, health_);
  if (!admin) return fail(Errc::io, "admin port: " + admin.error().message);
  admin_ = std::move(*admin);
  return {};
}

void CoordinatorProcess::run() {
  on_signal();
  health_.set_phase(StartupPhase::ready);
  metrics_.startup_phase.set(StartupPhase::ready);
  on_fleet_change();
  on_tick();
  io_.run();
  listener_->close_all();
  text_pool_.stop();
  text_pool_.join();
}

void CoordinatorProcess::on_signal() {
  signals_.async_wait([this](boost::system::error_code error, int signal) {
    if (error) return;
    if (signal == SIGHUP) {
      reload(true);
    } else if (draining_) {
      monitoring::log_warn("stopping_now", {{"signal", signal}});
      return io_.stop();
    } else {
      begin_drain();
    }
    on_signal();
  });
}

void CoordinatorProcess::wake() {
  if (wake_posted_) return;
  wake_posted_ = true;
  asio::post(io_, [this] {
    wake_posted_ = false;
    dispatcher_->pump();
  });
}

WorkerLinkState state_of(const WorkerView& view) {
  if (view.link != LinkState::connected) return WorkerLinkState::connecting;
  if (view.ready()) return WorkerLinkState::ready;
  if (view.draining || view.phase == transport::WorkerPhase::draining) return WorkerLinkState::draining;
  if (view.stalled || view.phase == transport::WorkerPhase::failed) return WorkerLinkState::failed;
  return WorkerLinkState::loading;
}

void CoordinatorProcess::on_fleet_change() {
  const FleetSnapshot& fleet = fleet_->snapshot();
  const std::size_t ready = fleet.ready_workers();
  health_.set_available(ready > 0, ready > 0 ? "" : "no worker is ready");
  for (const WorkerView& view : fleet.workers) {
    auto found = worker_metrics_.find(view.id.value);
    if (found == worker_metrics_.end()) {
      found = worker_metrics_.emplace(view.id.value, worker_link_metrics(registry_, view.id.value)).first;
    }
    auto& was_connected = worker_connected_[view.id.value];
    const bool connected = view.link == LinkState::connected;
    if (connected && !was_connected) found->second.connects.inc();
    was_connected = connected;
    found->second.state.set(state_of(view));
    found->second.requests.set(view.in_flight);
  }
  wake();
}

void CoordinatorProcess::on_tick() {
  tick_.expires_after(kTick);
  tick_.async_wait([this](boost::system::error_code error) {
    if (!error) on_tick();
  });
  dispatcher_->tick();
  auto tasks = std::move(every_tick_);
  every_tick_.clear();
  for (auto& task : tasks) {
    if (task()) every_tick_.push_back(std::move(task));
  }
  const std::uint64_t now = steady_ms();
  if (now >= next_reload_ms_) {
    next_reload_ms_ = now + kReloadEveryMs;
    reload(false);
    on_fleet_change();
  }
  if (draining_) check_drain();
}

void CoordinatorProcess::reload(bool force) {
  if (keys_) {
    const auto changed = keys_->reload_if_changed(force);
    if (!changed) monitoring::log_error("api_keys_not_reloaded", {{"error", changed.error().message}});
    if (changed && *changed) monitoring::log_info("api_keys_reloaded", {{"keys", keys_->size()}});
  }
  if (tls_) {
    const auto changed = tls_->reload_if_changed();
    if (!changed) monitoring::log_error("tls_not_reloaded", {{"error", changed.error().message}});
    if (changed && *changed) monitoring::log_info("tls_reloaded");
  }
}

void CoordinatorProcess::begin_drain() {
  if (draining_) return;
  draining_ = true;
  drain_started_ms_ = steady_ms();
  monitoring::log_info("draining",
                       {{"running", dispatcher_->running()}, {"waiting", dispatcher_->waiting()}});
  health_.set_phase(StartupPhase::draining);
  metrics_.startup_phase.set(StartupPhase::draining);
  dispatcher_->drain();
  listener_->stop_accepting();
  check_drain();
}

void CoordinatorProcess::check_drain() {
  const std::uint64_t now = steady_ms();
  if (dispatcher_->idle() && listener_->connections() == 0) return io_.stop();
  if (!insisted_ && now >= drain_started_ms_ + config_.limits.drain_ms) {
    insisted_ = true;
    monitoring::log_warn("drain_insists", {{"running", dispatcher_->running()}});
    dispatcher_->fail_all(Error{Errc::unavailable, "the server is shutting down", {}});
  }
  if (now >= drain_started_ms_ + config_.limits.drain_ms + kInsistGraceMs) io_.stop();
}

}  // namespace

Result<std::unique_ptr<Coordinator>> Coordinator::open(CoordinatorConfig config, CoordinatorParts parts) {
  auto model = load_served_model(config.model_directory, config.served_model_names, config.max_model_len);
  if (!model) return tl::unexpected(model.error());
  if (parts.tokenizer->vocab_size() > model->vocab_size) {
    return fail(Errc::configuration, "the tokenizer has " + std::to_string(parts.tokenizer->vocab_size()) +
                                         " ids, config.json says vocab_size " +
                                         std::to_string(model->vocab_size));
  }
  auto process = std::make_unique<CoordinatorProcess>(std::move(config), std::move(parts), std::move(*model));
  if (auto ready = process->init(); !ready) return tl::unexpected(ready.error());
  return process;
}

}  // namespace leadline::coordinator
