#include "kvstore/redis_tier.h"

#include <algorithm>

namespace leadline::kvstore {
namespace {

using Clock = std::chrono::steady_clock;
using Kind = RespReply::Kind;

std::int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now().time_since_epoch()).count();
}

// What a server says when it is there but cannot serve us: wrong login, loading, a replica.
bool unusable(const std::string& error) {
  for (const std::string_view code : {"NOAUTH", "WRONGPASS", "NOPERM", "LOADING", "MASTERDOWN", "READONLY",
                                      "CLUSTERDOWN", "MOVED", "MISCONF"})
    if (error.starts_with(code)) return true;
  return false;
}

}  // namespace

std::string redis_key(const BlockId& id) {
  return "leadline:kv:" + std::to_string(kBlockVersion) + ":" + to_hex(id.key) + ":" +
         std::to_string(id.head);
}

RedisTier::RedisTier(RedisTierOptions options)
    : options_(std::move(options)), loads_(options_.link), stores_(options_.link) {}

Result<std::vector<RespReply>> RedisTier::ask(Lane& lane, std::span<const RedisLink::Words> commands,
                                              TierDeadline deadline) {
  std::lock_guard lock(lane.mutex);
  auto replies = lane.link.exchange(commands, deadline);
  if (replies) note_errors(lane, *replies);
  const bool away = lane.link.away();
  if (away != was_away_.exchange(away) && options_.log)
    options_.log(away ? "down" : "back", away ? lane.link.why() : options_.link.url.shown());
  return replies;
}

void RedisTier::note_errors(Lane& lane, const std::vector<RespReply>& replies) {
  for (const RespReply& reply : replies) {
    if (reply.kind != Kind::error) continue;
    if (reply.text.starts_with("OOM")) full_until_ms_ = now_ms() + options_.retry.count();
    if (unusable(reply.text)) return lane.link.fail("Redis: " + reply.text.substr(0, 200));
  }
}

TierRead RedisTier::read(const BlockId& id, const RespReply& reply, std::vector<BlockId>& damaged) {
  if (reply.kind == Kind::nil) return {GetOutcome::miss, nullptr};
  if (reply.kind == Kind::error) return {GetOutcome::unavailable, nullptr};
  if (reply.kind != Kind::text) return {GetOutcome::corrupt, nullptr};
  auto block = Block::parse(std::as_bytes(std::span(reply.text)));
  if (!block || (*block)->header().id != id) {
    damaged.push_back(id);
    if (options_.log) options_.log(redis_key(id), block ? "block: of another key" : block.error().message);
    return {GetOutcome::corrupt, nullptr};
  }
  if (expired((*block)->header(), options_.unix_now())) {
    damaged.push_back(id);
    return {GetOutcome::miss, nullptr};
  }
  return {GetOutcome::hit, std::move(*block)};
}

void RedisTier::get(std::span<const BlockId> ids, std::span<TierRead> reads, TierDeadline deadline) {
  std::vector<std::string> keys;
  std::vector<RedisLink::Words> commands;
  keys.reserve(ids.size());
  for (const BlockId& id : ids) commands.push_back({"GET", keys.emplace_back(redis_key(id))});
  auto replies = ask(loads_, commands, deadline);
  std::vector<BlockId> damaged;
  for (std::size_t i = 0; i < ids.size(); ++i)
    reads[i] = replies ? read(ids[i], (*replies)[i], damaged) : TierRead{GetOutcome::unavailable, nullptr};
  for (const BlockId& id : damaged) (void)erase(id, deadline);
}

std::size_t RedisTier::leading(std::span<const BlockId> ids, TierDeadline deadline) {
  if (ids.empty()) return 0;
  std::vector<std::string> keys;
  std::vector<RedisLink::Words> commands;
  keys.reserve(ids.size());
  for (const BlockId& id : ids) commands.push_back({"EXISTS", keys.emplace_back(redis_key(id))});
  auto replies = ask(loads_, commands, deadline);
  if (!replies) return 0;
  std::size_t n = 0;
  while (n < ids.size() && (*replies)[n].kind == Kind::integer && (*replies)[n].integer == 1) ++n;
  return n;
}

PutOutcome RedisTier::put(const BlockPtr& block, TierDeadline deadline) {
  const BlockHeader& h = block->header();
  const std::uint64_t now = options_.unix_now();
  if (expired(h, now)) return PutOutcome::full;
  if (now_ms() < full_until_ms_) return PutOutcome::full;
  const std::string key = redis_key(h.id);
  const std::string ttl = std::to_string(h.expires_unix_s == 0 ? options_.ttl_s : h.expires_unix_s - now);
  const std::string_view bytes(reinterpret_cast<const char*>(block->bytes().data()), block->bytes().size());
  // Asked first: many workers compute the same prefix, and a key costs less than a block.
  const RedisLink::Words ask_first[] = {{"EXISTS", key}};
  auto there = ask(stores_, ask_first, deadline);
  if (!there) return PutOutcome::unavailable;
  if (there->front().kind == Kind::integer && there->front().integer == 1) return PutOutcome::present;
  const RedisLink::Words store[] = {{"SET", key, bytes, "EX", ttl, "NX"}};
  auto replies = ask(stores_, store, deadline);
  if (!replies) return PutOutcome::unavailable;
  const RespReply& reply = replies->front();
  if (reply.kind == Kind::nil) return PutOutcome::present;
  if (reply.kind == Kind::error)
    return reply.text.starts_with("OOM") ? PutOutcome::full : PutOutcome::unavailable;
  ++stored_;
  stored_bytes_ += block->bytes().size();
  return PutOutcome::stored;
}

bool RedisTier::erase(const BlockId& id, TierDeadline deadline) {
  const std::string key = redis_key(id);
  const RedisLink::Words forget[] = {{"DEL", key}};
  auto replies = ask(loads_, forget, deadline);
  return replies && replies->front().kind == Kind::integer && replies->front().integer == 1;
}

TierState RedisTier::state() const {
  if (loads_.link.away() || stores_.link.away()) return TierState::down;
  return now_ms() < full_until_ms_ ? TierState::read_only : TierState::ok;
}

std::string RedisTier::why() const {
  if (loads_.link.away()) return loads_.link.why();
  if (stores_.link.away()) return stores_.link.why();
  return now_ms() < full_until_ms_ ? "Redis: its memory is full (maxmemory)" : std::string();
}

}  // namespace leadline::kvstore
