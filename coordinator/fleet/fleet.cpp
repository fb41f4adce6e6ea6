#include "coordinator/fleet/fleet.h"

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <map>
#include <set>

#include "coordinator/fleet/worker_view.h"
#include "monitoring/log.h"
#include "transport/control/host_port.h"

namespace leadline::coordinator {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using transport::WorkerId;

namespace {

struct Member {
  std::unique_ptr<WorkerLink> link;
  std::string dns_name;   // NAME:PORT that it came from; "" = a fixed address
  bool left_dns = false;  // the name does not resolve to it any more
};

class Core : public std::enable_shared_from_this<Core> {
 public:
  Core(asio::io_context& io, FleetOptions options, std::function<void()> on_change)
      : io_(io), options_(std::move(options)), on_change_(std::move(on_change)), resolver_(io), timer_(io) {}

  Result<void> begin();
  void end();
  const FleetSnapshot& snapshot();
  WorkerLink* link(WorkerId id);

 private:
  Result<void> add(const std::string& address, const std::string& dns_name);
  void resolve_next(std::size_t index);
  void take_answer(const std::string& name, const std::set<std::string>& addresses);
  void schedule_change();
  void settle();

  asio::io_context& io_;
  const FleetOptions options_;
  std::function<void()> on_change_;
  tcp::resolver resolver_;
  asio::steady_timer timer_;  // between rounds of name look-ups
  std::map<WorkerId, Member> members_;
  std::uint32_t next_id_ = 0;
  FleetSnapshot snapshot_, announced_;
  bool change_posted_ = false, ended_ = false, full_logged_ = false;
};

Result<void> Core::begin() {
  for (const std::string& address : options_.workers) {
    if (auto added = add(address, ""); !added) return added;
  }
  for (const std::string& name : options_.workers_dns) {
    if (auto parsed = transport::parse_host_port(name); !parsed)
      return fail(Errc::configuration, parsed.error().message);
  }
  if (!options_.workers_dns.empty()) resolve_next(0);
  return {};
}

void Core::end() {
  ended_ = true;
  on_change_ = nullptr;
  timer_.cancel();
  resolver_.cancel();
  // Sinks may ask for links while they are told: members_ is empty by then.
  std::map<WorkerId, Member> members = std::exchange(members_, {});
  members.clear();
}

Result<void> Core::add(const std::string& address, const std::string& dns_name) {
  if (members_.size() >= options_.max_workers) {
    if (!std::exchange(full_logged_, true)) {
      monitoring::log_error("fleet_full", {{"limit", options_.max_workers}, {"left_out", address}});
    }
    return {};
  }
  WorkerLinkOptions link;
  link.client = options_.client;
  link.client.address = address;
  link.max_in_flight = options_.max_in_flight_per_worker;
  auto opened = WorkerLink::open(io_, std::move(link), {[this] { schedule_change(); }});
  if (!opened) return tl::unexpected(std::move(opened).error());
  const WorkerId id(next_id_++);
  monitoring::log_info("fleet_worker_added", {{"worker", id.value}, {"address", address}, {"dns", dns_name}});
  members_.emplace(id, Member{std::move(*opened), dns_name, false});
  schedule_change();
  return {};
}

// One name after the other, then a pause.
void Core::resolve_next(std::size_t index) {
  if (ended_) return;
  if (index >= options_.workers_dns.size()) {
    timer_.expires_after(options_.dns_period);
    timer_.async_wait([self = shared_from_this()](error_code stopped) {
      if (!stopped) self->resolve_next(0);
    });
    return;
  }
  const std::string& name = options_.workers_dns[index];
  const auto parsed = *transport::parse_host_port(name);
  resolver_.async_resolve(
      parsed.host, std::to_string(parsed.port),
      [self = shared_from_this(), index, name, port = parsed.port](error_code failure, auto found) {
        if (self->ended_) return;
        std::set<std::string> addresses;
        for (const auto& entry : found) {
          addresses.insert(to_text(transport::HostPort{entry.endpoint().address().to_string(), port}));
        }
        // A name service that does not answer is no news about the workers: they stay.
        const bool gone = failure == asio::error::host_not_found;
        if (!failure || gone) self->take_answer(name, addresses);
        self->resolve_next(index + 1);
      });
}

void Core::take_answer(const std::string& name, const std::set<std::string>& addresses) {
  std::set<std::string> known;
  for (auto& [id, member] : members_) {
    if (member.dns_name != name) continue;
    const bool left = !addresses.contains(member.link->address());
    if (left != member.left_dns) {
      monitoring::log_info(left ? "fleet_worker_left_dns" : "fleet_worker_back_in_dns",
                           {{"worker", id.value}});
      schedule_change();
    }
    member.left_dns = left;
    known.insert(member.link->address());
  }
  for (const std::string& address : addresses) {
    if (!known.contains(address)) (void)add(address, name);  // literals from a resolver parse
  }
  settle();
}

// Closes what left and has nothing to do any more.
void Core::settle() {
  for (auto at = members_.begin(); at != members_.end();) {
    if (at->second.left_dns && at->second.link->in_flight() == 0) {
      monitoring::log_info("fleet_worker_removed", {{"worker", at->first.value}});
      at = members_.erase(at);
      schedule_change();
    } else {
      ++at;
    }
  }
}

void Core::schedule_change() {
  if (std::exchange(change_posted_, true)) return;
  asio::post(io_, [self = shared_from_this()] {
    self->change_posted_ = false;
    if (self->ended_) return;
    self->settle();
    FleetSnapshot now = self->snapshot();
    for (WorkerView& worker : now.workers) worker.in_flight = 0;  // changes with every request: not news
    if (now.workers == self->announced_.workers) return;
    self->announced_ = std::move(now);
    if (const auto on_change = self->on_change_) on_change();
  });
}

const FleetSnapshot& Core::snapshot() {
  snapshot_.workers.clear();
  for (const auto& [id, member] : members_) {
    WorkerView view = view_of(*member.link, options_.step_stall);
    view.id = id;
    view.draining = view.draining || member.left_dns;
    snapshot_.workers.push_back(std::move(view));
  }
  return snapshot_;
}

WorkerLink* Core::link(WorkerId id) {
  const auto at = members_.find(id);
  return at == members_.end() ? nullptr : at->second.link.get();
}

class FleetImpl final : public Fleet {
 public:
  explicit FleetImpl(std::shared_ptr<Core> core) : core_(std::move(core)) {}
  ~FleetImpl() override { core_->end(); }
  const FleetSnapshot& snapshot() override { return core_->snapshot(); }
  WorkerLink* link(WorkerId id) override { return core_->link(id); }

 private:
  const std::shared_ptr<Core> core_;  // pending Asio operations share it
};

}  // namespace

WorkerView view_of(const WorkerLink& link, std::chrono::milliseconds step_stall) {
  WorkerView view;
  const transport::Status& status = link.status();
  const transport::Welcome& welcome = link.welcome();
  view.address = link.address();
  view.link = link.state();
  view.phase = status.phase;
  view.draining = status.phase == transport::WorkerPhase::draining;
  view.stalled = status.running > 0 && status.step_age_ms > static_cast<std::uint64_t>(step_stall.count());
  view.last_error = link.last_error();
  view.model_fingerprint = welcome.model_fingerprint;
  view.served_model_name = welcome.served_model_name;
  view.max_model_len = welcome.max_model_len;
  view.max_sequences = welcome.max_sequences;
  view.vocab_size = welcome.vocab_size;
  view.ranks = welcome.ranks;
  view.loaded_bytes = status.loaded_bytes;
  view.total_bytes = status.total_bytes;
  view.running = status.running;
  view.waiting = status.waiting;
  view.waiting_tokens = status.waiting_tokens;
  view.pages_used = status.pages_used;
  view.pages_total = status.pages_total;
  view.in_flight = static_cast<std::uint32_t>(link.in_flight());
  return view;
}

Result<std::unique_ptr<Fleet>> Fleet::open(asio::io_context& io, FleetOptions options,
                                           std::function<void()> on_change) {
  auto core = std::make_shared<Core>(io, std::move(options), std::move(on_change));
  auto fleet = std::make_unique<FleetImpl>(core);
  if (auto begun = core->begin(); !begun) return tl::unexpected(std::move(begun).error());
  return fleet;
}

}  // namespace leadline::coordinator
