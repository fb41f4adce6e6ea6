#include "worker/serving/control_service.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <future>
#include <map>
#include <thread>

#include "monitoring/log.h"

namespace leadline::worker {
namespace {

using transport::Channel;
using transport::FinishReason;
using transport::Message;
using transport::SendOutcome;

constexpr std::size_t kMessagesPerFlush = 256;

class ControlServiceImpl final : public ControlService {
 public:
  ControlServiceImpl(ControlServiceOptions options, RequestInbox& inbox, TokenOutbox& outbox,
                     const WorkerStatus& status)
      : options_(std::move(options)), inbox_(inbox), outbox_(outbox), status_(status), timer_(io_) {}

  ~ControlServiceImpl() override {
    io_.stop();
    if (thread_.joinable()) thread_.join();
    links_.clear();  // channels die before the io_context
    server_.reset();
  }

  Result<void> start() {
    transport::ControlServerHandlers handlers;
    handlers.describe = [this] { return options_.identity; };
    handlers.on_channel = [this](std::shared_ptr<Channel> channel) { adopt(std::move(channel)); };
    auto server = transport::ControlServer::open(io_, options_.server, std::move(handlers));
    if (!server) return monitoring::fail(Errc::configuration, server.error().message);
    server_ = std::move(*server);
    arm_status_timer();
    thread_ = std::thread([this] { io_.run(); });
    return {};
  }

  std::uint16_t port() const override { return server_->port(); }
  void flush(LinkId link) override {
    boost::asio::post(io_, [this, link] { drain_outbox(link); });
  }
  void announce_status() override {
    boost::asio::post(io_, [this] { send_status(); });
  }

  void shut_down(std::chrono::milliseconds patience) override {
    auto closed = std::make_shared<std::promise<void>>();  // outlives this call if patience runs out
    boost::asio::post(io_, [this, closed] {
      server_->stop_accepting();
      timer_.cancel();
      stopping_ = closed;
      for (auto& [id, link] : links_) {
        drain_outbox(id);
        link.channel->close_when_sent();
      }
      if (links_.empty()) finish_stopping();
    });
    closed->get_future().wait_for(patience);
  }

 private:
  struct Link {
    std::shared_ptr<Channel> channel;
    bool writable = true;
  };

  void adopt(std::shared_ptr<Channel> channel) {
    const LinkId id{++last_link_};
    monitoring::log_info("coordinator connected", {{"peer", channel->peer()}, {"link", id.value}});
    transport::ChannelHandlers handlers;
    handlers.on_message = [this, id](Message message) { receive(id, std::move(message)); };
    handlers.on_writable = [this, id] {
      if (auto link = links_.find(id); link != links_.end()) link->second.writable = true;
      drain_outbox(id);
    };
    handlers.on_closed = [this, id](const transport::Error& error) { lose(id, error); };
    Link& link = links_[id];
    link.channel = std::move(channel);
    if (options_.on_links) options_.on_links(links_.size());
    link.channel->start(std::move(handlers));
    link.channel->send(status_.snapshot());
  }

  void receive(LinkId id, Message message) {
    if (auto* generate = std::get_if<transport::Generate>(&message)) {
      const transport::RequestId request = generate->request;
      auto back = inbox_.try_push({id, std::move(*generate), std::chrono::steady_clock::now()});
      if (back) refuse(id, request);
    } else if (auto* cancel = std::get_if<transport::Cancel>(&message)) {
      inbox_.push_cancel(id, cancel->request);
    } else if (std::holds_alternative<transport::Drain>(message)) {
      inbox_.push_drain();
    } else {
      monitoring::log_warn("unexpected message from a coordinator", {{"link", id.value}});
    }
  }

  void refuse(LinkId id, transport::RequestId request) {
    transport::Finish finish;
    finish.request = request;
    finish.reason = FinishReason::overloaded;
    finish.message = "the worker's inbox is full or it drains";
    if (auto link = links_.find(id); link != links_.end()) link->second.channel->send(finish);
  }

  void lose(LinkId id, const transport::Error& error) {
    monitoring::log_info("coordinator gone", {{"link", id.value}, {"why", error.message}});
    if (options_.on_link_ended) options_.on_link_ended(error);
    inbox_.push_link_lost(id);
    outbox_.forget(id);
    // The channel is calling us: let go of it in a later turn.
    boost::asio::post(io_, [this, id] {
      links_.erase(id);
      if (options_.on_links) options_.on_links(links_.size());
      if (stopping_ && links_.empty()) finish_stopping();
    });
  }

  void drain_outbox(LinkId id) {
    auto found = links_.find(id);
    if (found == links_.end()) {
      outbox_.forget(id);  // tokens of a link that is gone
      return;
    }
    Link& link = found->second;
    while (link.writable) {
      std::vector<Message> messages = outbox_.take(id, kMessagesPerFlush);
      if (messages.empty()) return;
      for (const Message& message : messages) {
        const SendOutcome outcome = link.channel->send(message);
        if (outcome == SendOutcome::queued_above_high_water) link.writable = false;
        if (outcome == SendOutcome::refused) {  // lost tokens may not go unnoticed: the link ends, the
                                                // coordinator retries
          link.channel->close("the send queue is full");
          return;
        }
      }
    }
  }

  void send_status() {
    const transport::Status status = status_.snapshot();
    for (auto& [id, link] : links_)
      if (link.writable) link.channel->send(status);
  }

  void arm_status_timer() {
    timer_.expires_after(options_.status_period);
    timer_.async_wait([this](const boost::system::error_code& error) {
      if (error) return;
      send_status();
      arm_status_timer();
    });
  }

  void finish_stopping() {
    stopping_->set_value();
    stopping_.reset();
  }

  // constant after start
  ControlServiceOptions options_;
  RequestInbox& inbox_;
  TokenOutbox& outbox_;
  const WorkerStatus& status_;
  std::thread thread_;
  // owned by the I/O thread
  boost::asio::io_context io_{1};
  std::unique_ptr<transport::ControlServer> server_;
  boost::asio::steady_timer timer_;
  std::map<LinkId, Link> links_;
  std::uint64_t last_link_ = 0;
  std::shared_ptr<std::promise<void>> stopping_;
};

}  // namespace

Result<std::unique_ptr<ControlService>> ControlService::open(ControlServiceOptions options,
                                                             RequestInbox& inbox, TokenOutbox& outbox,
                                                             const WorkerStatus& status) {
  auto service = std::make_unique<ControlServiceImpl>(std::move(options), inbox, outbox, status);
  if (auto started = service->start(); !started) return tl::unexpected(started.error());
  return service;
}

}  // namespace leadline::worker
