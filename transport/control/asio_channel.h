#pragma once
// AsioChannel: the Channel over an Asio socket, and what only server and client need of it: it is born for a
// handshake, with small frames, and handed out afterwards. Included by control_server.cpp, control_client.cpp
// and asio_channel.cpp only.
//
// Thread: as channel.h. shared_ptr: every pending Asio operation keeps its channel alive.

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "transport/control/channel.h"
#include "transport/control/frame.h"

namespace leadline::transport {

enum class ChannelSide : std::uint8_t { worker, coordinator };

class AsioChannel final : public Channel, public std::enable_shared_from_this<AsioChannel> {
 public:
  // on_gone runs when the channel is destroyed; it may be empty.
  AsioChannel(boost::asio::io_context& io, boost::asio::ip::tcp::socket socket, ChannelSide side,
              ChannelOptions options, std::function<void()> on_gone);
  ~AsioChannel() override;

  // Handshake: messages of the handshake only, in small frames, no pings. `end_handshake` stops delivery
  // until start().
  void start_handshake(ChannelHandlers handlers);
  void end_handshake();

  void start(ChannelHandlers handlers) override;
  SendOutcome send(const Message& message) override;
  [[nodiscard]] std::size_t queued_bytes() const override {
    return queued_bytes_.load(std::memory_order_relaxed);
  }
  void close_when_sent() override;
  void close(std::string reason) override;
  void abandon() override;
  [[nodiscard]] const std::string& peer() const override { return peer_; }

 private:
  enum class Phase : std::uint8_t { idle, handshake, open };
  using Clock = std::chrono::steady_clock;
  void run(ChannelHandlers handlers);
  void read_more();
  void take_input();
  bool deliver(Frame frame);
  bool allowed(const Message& message) const;
  void write_more();
  void after_write(std::size_t count);
  void arm_heartbeat();
  void beat();
  void finish(Error why);
  void peer_ended();

  // Constant after construction.
  const ChannelSide side_;
  const ChannelOptions options_;
  const std::function<void()> on_gone_;
  std::string peer_;

  // Owned by the io thread.
  boost::asio::io_context& io_;
  boost::asio::ip::tcp::socket socket_;
  boost::asio::steady_timer timer_;
  ChannelHandlers handlers_;
  Phase phase_ = Phase::idle;
  FrameParser parser_;
  std::vector<std::byte> input_;       // what one read may bring
  std::span<const std::byte> unread_;  // of input_, not parsed yet
  std::vector<std::byte> writing_;     // frames on their way
  std::size_t written_ = 0;            // of writing_
  bool reading_ = false, write_active_ = false, closing_ = false, half_closed_ = false, peer_ended_ = false;
  Clock::time_point last_received_, next_ping_;
  std::uint64_t ping_nonce_ = 0;

  std::atomic<std::size_t> queued_bytes_{0};
  std::atomic<bool> closed_{false}, owes_writable_{false};

  std::mutex mutex_;                // guards pending_ and flush_posted_
  std::vector<std::byte> pending_;  // frames not yet taken by the io thread
  bool flush_posted_ = false;
};

}  // namespace leadline::transport
