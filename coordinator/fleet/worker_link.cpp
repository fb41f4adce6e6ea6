#include "coordinator/fleet/worker_link.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <unordered_map>
#include <utility>
#include <vector>

#include "monitoring/log.h"

namespace leadline::coordinator {

namespace {

using transport::RequestId;
using transport::SendOutcome;

struct Open {
  GenerationSink* sink = nullptr;
  std::uint32_t next_index = 0;  // of the next token, so that a gap is noticed
};

class Link final : public WorkerLink {
 public:
  Link(boost::asio::io_context& io, WorkerLinkOptions options, WorkerLinkHandlers handlers)
      : io_(io), options_(std::move(options)), handlers_(std::move(handlers)) {}
  ~Link() override;

  Result<void> connect();

  Result<RequestId> generate(transport::Generate request, GenerationSink& sink) override;
  void cancel(RequestId id) override;
  void abandon(RequestId id) override;
  void drain() override;

  [[nodiscard]] LinkState state() const override { return state_; }
  [[nodiscard]] const std::string& address() const override { return options_.client.address; }
  [[nodiscard]] const std::string& last_error() const override { return last_error_; }
  [[nodiscard]] const transport::Welcome& welcome() const override { return welcome_; }
  [[nodiscard]] const transport::Status& status() const override { return status_; }
  [[nodiscard]] std::size_t in_flight() const override { return open_.size(); }

 private:
  void hear(transport::Message message);
  void take(transport::TokenBatch batch);
  void take(transport::Finish finish);
  void end_all(const std::string& why);
  void lose(const transport::Error& why);
  void changed() {
    if (handlers_.on_change) handlers_.on_change();
  }

  // Constant after construction.
  boost::asio::io_context& io_;
  const WorkerLinkOptions options_;
  const WorkerLinkHandlers handlers_;

  // Owned by the io thread.
  std::unique_ptr<transport::ControlClient> client_;
  std::unordered_map<RequestId, Open> open_;
  std::uint64_t next_id_ = 1;
  LinkState state_ = LinkState::connecting;
  std::string last_error_ = "not connected yet";
  transport::Welcome welcome_;
  transport::Status status_;
};

Link::~Link() {
  client_.reset();
  end_all("the link was closed");
}

Result<void> Link::connect() {
  transport::ControlClientHandlers handlers;
  handlers.on_connected = [this](const transport::Welcome& welcome) {
    welcome_ = welcome;
    status_ = {};  // the last one was another life's
    state_ = LinkState::connected;
    last_error_.clear();
    changed();
  };
  handlers.on_message = [this](transport::Message message) { hear(std::move(message)); };
  handlers.on_disconnected = [this](const transport::Error& why) { lose(why); };
  handlers.on_attempt_failed = [this](const transport::Error& why) {
    const LinkState state = why.code == transport::Errc::refused ? LinkState::refused : LinkState::connecting;
    if (state == state_ && why.message == last_error_) return;
    state_ = state;
    last_error_ = why.message;
    changed();
  };
  auto client = transport::ControlClient::open(io_, options_.client, std::move(handlers));
  if (!client) return fail(Errc::configuration, client.error().message);
  client_ = std::move(*client);
  return {};
}

Result<RequestId> Link::generate(transport::Generate request, GenerationSink& sink) {
  if (state_ != LinkState::connected) return fail(Errc::unavailable, address() + ": " + last_error_);
  if (open_.size() >= options_.max_in_flight) {
    return fail(Errc::unavailable,
                address() + ": " + std::to_string(open_.size()) + " generations in flight");
  }
  const RequestId id(next_id_++);
  request.request = id;
  const auto first = static_cast<std::uint32_t>(request.generated.size());
  switch (client_->send(request)) {
    case SendOutcome::queued:
    case SendOutcome::queued_above_high_water:
      break;
    case SendOutcome::refused:
      return fail(Errc::unavailable, address() + ": the link takes no more");
    case SendOutcome::closed:
      return fail(Errc::unavailable, address() + ": the link is closed");
  }
  open_.emplace(id, Open{&sink, first});
  return id;
}

void Link::cancel(RequestId id) {
  if (!open_.contains(id)) return;
  // A queue that takes nothing is a link that is about to be lost; the generation ends with it.
  (void)client_->send(transport::Cancel{id});
}

void Link::abandon(RequestId id) {
  if (open_.erase(id) == 0) return;
  (void)client_->send(transport::Cancel{id});
}

void Link::drain() {
  (void)client_->send(transport::Drain{});
  status_.phase = transport::WorkerPhase::draining;  // its own Status will say so, too
  changed();
}

void Link::hear(transport::Message message) {
  if (auto* tokens = std::get_if<transport::TokenBatch>(&message)) return take(std::move(*tokens));
  if (auto* finish = std::get_if<transport::Finish>(&message)) return take(std::move(*finish));
  if (auto* status = std::get_if<transport::Status>(&message); status != nullptr && !(*status == status_)) {
    status_ = *status;
    changed();
  }
}

// Ids that are not open belong to generations that were abandoned: their last events were on their way.
void Link::take(transport::TokenBatch batch) {
  const auto at = open_.find(batch.request);
  if (at == open_.end() || batch.tokens.empty()) return;
  if (batch.first_index != at->second.next_index) {
    // A worker that skips or repeats tokens can't be believed about this request any more.
    GenerationSink* sink = at->second.sink;
    const std::string why = address() + ": token " + std::to_string(batch.first_index) + " where " +
                            std::to_string(at->second.next_index) + " was due";
    monitoring::log_error("worker_token_gap",
                          {{"worker", address()}, {"request", batch.request.value}, {"reason", why}});
    abandon(batch.request);
    sink->on_link_lost(why);
    return;
  }
  at->second.next_index += static_cast<std::uint32_t>(batch.tokens.size());
  at->second.sink->on_tokens(std::move(batch));
}

void Link::take(transport::Finish finish) {
  const auto at = open_.find(finish.request);
  if (at == open_.end()) return;
  GenerationSink* sink = at->second.sink;
  open_.erase(at);
  sink->on_finish(std::move(finish));
}

void Link::end_all(const std::string& why) {
  // A sink may call generate, cancel or abandon of this link in turn: take the next one from what is left
  // each time.
  while (!open_.empty()) {
    GenerationSink* sink = open_.begin()->second.sink;
    open_.erase(open_.begin());
    sink->on_link_lost(why);
  }
}

void Link::lose(const transport::Error& why) {
  state_ = LinkState::connecting;
  last_error_ = why.message;
  status_ = {};
  changed();  // the snapshot first: a sink that is told now must not be routed here again
  end_all(address() + ": " + why.message);
}

}  // namespace

Result<std::unique_ptr<WorkerLink>> WorkerLink::open(boost::asio::io_context& io, WorkerLinkOptions options,
                                                     WorkerLinkHandlers handlers) {
  auto link = std::make_unique<Link>(io, std::move(options), std::move(handlers));
  if (auto connected = link->connect(); !connected) return tl::unexpected(std::move(connected).error());
  return link;
}

}  // namespace leadline::coordinator
