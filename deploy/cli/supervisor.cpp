#include "deploy/cli/supervisor.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <set>

#include "deploy/cli/console.h"
#include "deploy/cli/core_shares.h"
#include "deploy/cli/load_progress.h"
#include "deploy/cli/port_picker.h"
#include "deploy/cli/runtime_directory.h"
#include "deploy/cli/service.h"

namespace leadline::deploy {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds kTick{50};       // how late an end or a restart may be noticed
constexpr std::chrono::milliseconds kAskEvery{200};  // between looks at loading
constexpr std::chrono::milliseconds kAskSoon{5};     // when all listen: the link is made in a moment
constexpr int kSoonAsks = 400;
constexpr int kInsisted = 130;

int make_signal_fd() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGCHLD}) sigaddset(&set, signal);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

// Which of the signals that ask us to stop have come since the last call.
int count_stop_signals(int fd) {
  signalfd_siginfo info{};
  int count = 0;
  while (read(fd, &info, sizeof info) == static_cast<ssize_t>(sizeof info))
    count += info.ssi_signo != SIGCHLD ? 1 : 0;
  return count;
}

// The port that was asked for, or for 0 a free one, or for a default that is taken the next free block.
Result<int> choose_port(const std::string& host, int wanted, bool given, int count, const char* flag) {
  if (wanted != 0 && ports_are_free(host, wanted, count)) return wanted;
  if (wanted != 0 && given) {
    return fail(Errc::configuration, std::string(flag) + " " + std::to_string(wanted) + ": in use, or " +
                                         host + " is not an address of this machine (0 picks free ones)");
  }
  if (wanted == 0) {
    const std::vector<int> any = pick_free_ports(host, 1);
    if (any.empty()) return fail(Errc::configuration, host + ": not an address of this machine");
    if (count == 1) return any[0];
    wanted = any[0];
  }
  const std::optional<int> block = find_free_block(host, wanted, count);
  if (!block)
    return fail(Errc::configuration, std::string(flag) + ": no free port from " + std::to_string(wanted));
  if (given) return *block;
  if (*block != wanted)
    say(std::string(flag) + " " + std::to_string(wanted) + " is taken: using " + std::to_string(*block));
  return *block;
}

Result<UpPlan> make_plan(const UpOptions& options, const RuntimeDirectory& directory) {
  UpPlan plan;
  std::error_code error;
  plan.program_directory = std::filesystem::read_symlink("/proc/self/exe", error).parent_path().string();
  const bool keeps_blocks = !options.kv_disk.empty() && options.kv_disk_bytes > 0;
  auto secret = keeps_blocks ? kept_secret(options.kv_disk) : directory.write_secret();
  if (!secret && keeps_blocks) {
    say("tenants' blocks will not be found by later starts: " + secret.error().message);
    secret = directory.write_secret();
  }
  if (!secret) return tl::unexpected(secret.error());
  plan.secret_file = *secret;
  const auto port = choose_port(options.host, options.port, options.port_given, 1, "--port");
  if (!port) return tl::unexpected(port.error());
  plan.port = *port;
  const auto admin = choose_port("127.0.0.1", options.admin_port, options.admin_port_given,
                                 1 + options.workers, "--admin-port");
  if (!admin) return tl::unexpected(admin.error());
  plan.admin_port = *admin;
  std::set<int> taken = {plan.port};
  for (int i = 0; i <= options.workers; ++i) taken.insert(plan.admin_port + i);
  for (const int free : pick_free_ports("127.0.0.1", 2 * options.workers + 8)) {
    if (static_cast<int>(plan.worker_ports.size()) < options.workers && taken.insert(free).second) {
      plan.worker_ports.push_back(free);
    }
  }
  if (static_cast<int>(plan.worker_ports.size()) < options.workers)
    return fail(Errc::io, "no free ports on 127.0.0.1");
  return plan;
}

std::string url_of(const UpOptions& options, const UpPlan& plan) {
  std::string host = options.host;
  if (host == "0.0.0.0" || host == "::" || host == "*") host = "127.0.0.1";
  if (host.find(':') != std::string::npos) host = "[" + host + "]";
  return (options.tls_cert.empty() ? "http://" : "https://") + host + ":" + std::to_string(plan.port);
}

class Supervisor {
 public:
  Supervisor(const UpOptions& options, UpPlan plan, int signals)
      : options_(options), plan_(std::move(plan)), signals_(signals) {
    const std::vector<std::pair<std::string, std::string>> environment = {
        {"OMPI_ALLOW_RUN_AS_ROOT", "1"}, {"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"}};
    const std::vector<int> cores = own_cores();
    const CoreWish wish{options.workers, options.ranks, options.threads};
    for (int w = 0; w < options.workers; ++w) {
      services_.push_back(std::make_unique<Service>(
          "worker " + std::to_string(w),
          ChildSpec{worker_command(options, plan_, w), environment, cores_of_worker(cores, wish, w)},
          "listening on "));
    }
    services_.push_back(std::make_unique<Service>(
        "coordinator", ChildSpec{coordinator_command(options, plan_), {}, {}}, "listening on "));
  }

  int run() {
    for (const auto& service : services_) {
      if (auto started = service->start(Clock::now()); !started) {
        say(started.error().message);
        status_ = 1;
        stop_all();
      }
    }
    while (!all_ended() || !stopping_) {
      wait_for_events();
      const Clock::time_point now = Clock::now();
      for (int signals = count_stop_signals(signals_); signals > 0; --signals) on_stop_signal();
      for (const auto& service : services_) {
        service->advance(now);
        if (service->gave_up() && !stopping_) {
          status_ = 1;
          stop_all();
        }
      }
      if (stopping_) advance_stop(now);
      if (!stopping_ && !ready_ && now >= next_ask_) look_at_loading(now);
    }
    return status_;
  }

 private:
  Service& coordinator() { return *services_.back(); }

  bool all_ended() const {
    return std::none_of(services_.begin(), services_.end(), [](const auto& s) { return s->is_running(); });
  }

  bool all_listen() const {
    return std::all_of(services_.begin(), services_.end(), [](const auto& s) { return s->is_up(); });
  }

  void wait_for_events() {
    std::vector<pollfd> polled = {{signals_, POLLIN, 0}};
    for (const auto& service : services_) {
      if (service->output_fd() >= 0) polled.push_back({service->output_fd(), POLLIN, 0});
    }
    const bool soon = !ready_ && soon_asks_ > 0 && all_listen();
    if (soon) {
      --soon_asks_;
      next_ask_ = {};
    }
    (void)poll(polled.data(), polled.size(), static_cast<int>((soon ? kAskSoon : kTick).count()));
  }

  void look_at_loading(Clock::time_point now) {
    next_ask_ = now + kAskEvery;
    std::vector<WorkerProgress> workers;
    for (int w = 0; w < options_.workers; ++w) workers.push_back(ask_startup(worker_admin_port(plan_, w)));
    int percent = 0;
    const std::string text = describe_progress(workers, percent);
    if (percent > 0) progress_.show(text, percent);
    if (!coordinator().is_up() || !ask_ready(plan_.admin_port)) return;
    progress_.finish();
    ready_ = true;
    std::printf("leadline: ready at %s (%d worker%s of %d rank%s; metrics on http://127.0.0.1:%d/metrics)\n",
                url_of(options_, plan_).c_str(), options_.workers, options_.workers == 1 ? "" : "s",
                options_.ranks, options_.ranks == 1 ? "" : "s", plan_.admin_port);
    std::fflush(stdout);
  }

  void on_stop_signal() {
    if (!stopping_) {
      say(ready_ ? "draining: running requests may finish (Ctrl-C again stops at once)" : "stopping");
      begin_stop();
      return;
    }
    say("stopping at once");
    status_ = kInsisted;
    for (const auto& service : services_) service->kill();
  }

  void begin_stop() {
    stopping_ = true;
    coordinator().stop();
    stop_deadline_ = Clock::now() + std::chrono::seconds(ready_ ? kDrainLimitSeconds : kStopLimitSeconds);
  }

  void stop_all() {
    if (!stopping_) begin_stop();
  }

  // The coordinator has been asked; when it is gone the workers are; who is late is killed.
  void advance_stop(Clock::time_point now) {
    if (!workers_asked_ && !coordinator().is_running()) {
      workers_asked_ = true;
      for (const auto& service : services_) service->stop();
      stop_deadline_ = now + std::chrono::seconds(kStopLimitSeconds);
    }
    if (now < stop_deadline_ || all_ended()) return;
    for (const auto& service : services_) {
      if (!service->is_running() || (!workers_asked_ && service.get() != &coordinator())) continue;
      say(service->name() + " did not end in time: killing it");
      service->kill();
    }
    stop_deadline_ = now + std::chrono::seconds(kStopLimitSeconds);
  }

  const UpOptions& options_;
  const UpPlan plan_;
  const int signals_;
  std::vector<std::unique_ptr<Service>> services_;  // the workers, then the coordinator
  ProgressLine progress_;
  bool ready_ = false, stopping_ = false, workers_asked_ = false;
  int status_ = 0, soon_asks_ = kSoonAsks;
  Clock::time_point next_ask_{}, stop_deadline_ = Clock::time_point::max();
};

}  // namespace

int run_up(const UpOptions& options) {
  if (const std::string conflict = find_conflict(options); !conflict.empty()) {
    say(conflict);
    return 1;
  }
  const int signals = make_signal_fd();
  auto directory = RuntimeDirectory::create();
  if (!directory) {
    say(directory.error().message);
    return 1;
  }
  auto plan = make_plan(options, *directory);
  if (!plan) {
    say(plan.error().message);
    return 1;
  }
  std::fputs(describe(options).c_str(), stderr);
  const int status = Supervisor(options, std::move(*plan), signals).run();
  close(signals);
  say(status == 0 ? "stopped" : status == 1 ? "failed" : "stopped at once");
  return status;
}

}  // namespace leadline::deploy
