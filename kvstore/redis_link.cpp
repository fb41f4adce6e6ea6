#include "kvstore/redis_link.h"

#include <hiredis/hiredis.h>

#include <algorithm>
#include <array>

namespace leadline::kvstore {
namespace {

using Clock = std::chrono::steady_clock;

void format(const RedisLink::Words& words, std::string& out) {
  std::vector<const char*> at;
  std::vector<std::size_t> sizes;
  for (const std::string_view word : words) {
    at.push_back(word.data());
    sizes.push_back(word.size());
  }
  char* bytes = nullptr;
  const auto n = redisFormatCommandArgv(&bytes, static_cast<int>(words.size()), at.data(), sizes.data());
  if (n > 0) out.append(bytes, static_cast<std::size_t>(n));
  redisFreeCommand(bytes);
}

tl::unexpected<Error> unavailable(std::string why) {
  return monitoring::fail(Errc::unavailable, std::move(why));
}

}  // namespace

RedisLink::RedisLink(RedisLinkOptions options)
    : options_(std::move(options)), random_(std::random_device{}()), pause_(options_.first_pause) {}

std::string RedisLink::why() const {
  std::lock_guard lock(mutex_);
  return why_;
}

void RedisLink::fail(const std::string& why) {
  stream_.reset();
  reader_ = RespReader();
  // Half to one and a half of the pause: many workers do not come back in step.
  std::uniform_real_distribution<double> jitter(0.5, 1.5);
  away_until_ = Clock::now() + std::chrono::duration_cast<Clock::duration>(pause_ * jitter(random_));
  pause_ = std::min(2 * pause_, options_.longest_pause);
  away_ = true;
  std::lock_guard lock(mutex_);
  why_ = why;
}

Result<std::vector<RespReply>> RedisLink::exchange(std::span<const Words> commands, Deadline deadline) {
  deadline = std::min(deadline, Clock::now() + options_.io_limit);
  if (stream_ == nullptr) {
    if (Clock::now() < away_until_) return unavailable(why());
    if (auto dialled = dial(std::min(deadline, Clock::now() + options_.connect_limit)); !dialled) {
      fail(dialled.error().message);
      return tl::unexpected(dialled.error());
    }
  }
  auto replies = transact(commands, deadline);
  if (!replies) {
    fail(replies.error().message);
    return replies;
  }
  pause_ = options_.first_pause;
  away_ = false;
  return replies;
}

Result<std::vector<RespReply>> RedisLink::transact(std::span<const Words> commands, Deadline deadline) {
  out_.clear();
  for (const Words& words : commands) format(words, out_);
  if (auto sent = stream_->send(out_, deadline); !sent) return tl::unexpected(sent.error());
  if (out_.capacity() > (std::size_t{16} << 20)) out_ = std::string();
  std::vector<RespReply> replies;
  std::array<std::byte, 65536> piece;
  while (replies.size() < commands.size()) {
    if (auto reply = reader_.take()) {
      replies.push_back(std::move(*reply));
      continue;
    }
    if (reader_.failed()) return unavailable("Redis: a reply that is none");
    auto got = stream_->receive(piece, deadline);
    if (!got) return tl::unexpected(got.error());
    reader_.feed(std::span(piece).first(*got));
  }
  return replies;
}

// The first sentinel that answers says where the master is now.
Result<RedisAddress> RedisLink::ask_sentinels(Deadline deadline) {
  std::string why = "no sentinel";
  for (const RedisAddress& sentinel : options_.url.addresses) {
    auto stream = RedisStream::connect(sentinel, options_.url, deadline);
    if (!stream) {
      why = stream.error().message;
      continue;
    }
    stream_ = std::move(*stream);
    reader_ = RespReader();
    const Words ask[] = {{"SENTINEL", "get-master-addr-by-name", options_.url.sentinel_master}};
    auto reply = transact(ask, deadline);
    stream_.reset();
    reader_ = RespReader();
    RedisAddress master;
    if (reply && reply->front().kind == RespReply::Kind::array && reply->front().elements.size() == 2) {
      master.host = reply->front().elements[0].text;
      const int port = std::atoi(reply->front().elements[1].text.c_str());
      if (port > 0 && port < 65536) {
        master.port = static_cast<std::uint16_t>(port);
        return master;
      }
    }
    why = reply ? "sentinel does not know the master " + options_.url.sentinel_master : reply.error().message;
  }
  return unavailable("Redis: " + why);
}

Result<void> RedisLink::dial(Deadline deadline) {
  RedisAddress address = options_.url.addresses.front();
  if (!options_.url.sentinel_master.empty()) {
    auto master = ask_sentinels(deadline);
    if (!master) return tl::unexpected(master.error());
    address = std::move(*master);
  }
  auto stream = RedisStream::connect(address, options_.url, deadline);
  if (!stream) return tl::unexpected(stream.error());
  stream_ = std::move(*stream);
  reader_ = RespReader();
  return log_in(deadline);
}

Result<void> RedisLink::log_in(Deadline deadline) {
  const RedisUrl& url = options_.url;
  const std::string database = std::to_string(url.database);
  std::vector<Words> commands;
  if (!url.password.empty() && url.user.empty()) commands.push_back({"AUTH", url.password});
  if (!url.user.empty()) commands.push_back({"AUTH", url.user, url.password});
  if (url.database != 0) commands.push_back({"SELECT", database});
  commands.push_back({"PING"});
  auto replies = transact(commands, deadline);
  if (!replies) return tl::unexpected(replies.error());
  for (const RespReply& reply : *replies)
    if (reply.kind == RespReply::Kind::error) return unavailable("Redis: " + reply.text.substr(0, 200));
  return {};
}

}  // namespace leadline::kvstore
