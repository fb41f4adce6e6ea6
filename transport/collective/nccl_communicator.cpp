#include "transport/collective/nccl_communicator.h"

#include <thread>

#include "monitoring/check.h"

namespace leadline::transport {

namespace {

using Clock = std::chrono::steady_clock;
constexpr int kPollsBeforeSleep = 20'000;  // about a step's length of polling, then naps
constexpr std::chrono::microseconds kNap{200};

DeviceCommunicatorMaker device_maker = nullptr;  // set once, before other threads exist

}  // namespace

NcclCommunicator::NcclCommunicator(NcclApi& api, std::unique_ptr<NcclApi> owned,
                                   std::unique_ptr<Communicator> hosts, NcclGroup group,
                                   std::chrono::milliseconds stall_limit)
    : owned_(std::move(owned)),
      api_(api),
      hosts_(std::move(hosts)),
      group_(group),
      stall_limit_(stall_limit) {}

NcclCommunicator::~NcclCommunicator() {
  if (!aborted_) api_.leave(group_);
}

Result<std::unique_ptr<Communicator>> NcclCommunicator::create(std::unique_ptr<NcclApi> api,
                                                               std::unique_ptr<Communicator> hosts,
                                                               std::chrono::milliseconds stall_limit) {
  // The first byte says whether rank 0 could make an id, so that the others do not wait for a group that
  // never is.
  std::array<std::byte, sizeof(NcclId) + 1> message{};
  NcclId id{};
  std::string trouble;
  if (hosts->rank() == 0) {
    trouble = api->make_id(id);
    message[0] = std::byte{trouble.empty()};
    std::copy(id.begin(), id.end(), message.begin() + 1);
  }
  if (auto sent = hosts->broadcast(message, 0, nullptr); !sent) return tl::unexpected(sent.error());
  if (message[0] == std::byte{0})
    return monitoring::fail(Errc::io, "NCCL on rank 0 made no id" + (trouble.empty() ? "" : ": " + trouble));
  std::copy(message.begin() + 1, message.end(), id.begin());
  NcclGroup group = nullptr;
  trouble = api->join(group, hosts->size(), id, hosts->rank());
  if (!trouble.empty()) {
    hosts->fail("rank " + std::to_string(hosts->rank()) + " cannot join NCCL's group: " + trouble);
    return monitoring::fail(Errc::io, "NCCL: " + trouble);
  }
  NcclApi& used = *api;
  return std::unique_ptr<Communicator>(
      new NcclCommunicator(used, std::move(api), std::move(hosts), group, stall_limit));
}

void NcclCommunicator::abort_once() {
  if (!aborted_.exchange(true)) api_.abort(group_);
}

// A refused call on one rank leaves the others waiting: the group ends everywhere.
Result<void> NcclCommunicator::done(const std::string& trouble, const char* what) {
  if (trouble.empty()) return {};
  fail("rank " + std::to_string(rank()) + ": NCCL " + what + ": " + trouble);
  return hosts_->check();
}

void NcclCommunicator::fail(std::string_view reason) {
  hosts_->fail(reason);
  abort_once();
}

Result<void> NcclCommunicator::check() {
  auto alive = hosts_->check();
  if (!alive) {
    abort_once();
    return alive;
  }
  return done(aborted_ ? "" : api_.trouble(group_), "reports");
}

Result<void> NcclCommunicator::all_gather(std::span<const std::byte> send, std::span<std::byte> recv,
                                          StreamHandle stream) {
  if (stream == nullptr) return hosts_->all_gather(send, recv, nullptr);
  LEADLINE_CHECK(recv.size() == send.size() * static_cast<std::size_t>(size()),
                 "all_gather: recv is size() * send");
  if (auto alive = check(); !alive) return alive;
  return done(api_.all_gather(group_, send.data(), recv.data(), send.size(), stream), "all_gather");
}

Result<void> NcclCommunicator::gather(std::span<const std::byte> send, std::span<std::byte> recv, int root,
                                      StreamHandle stream) {
  if (stream == nullptr) return hosts_->gather(send, recv, root, nullptr);
  LEADLINE_CHECK(root >= 0 && root < size(), "gather: root is a rank of the group");
  if (auto alive = check(); !alive) return alive;
  if (rank() != root) return done(api_.send(group_, send.data(), send.size(), root, stream), "send");
  LEADLINE_CHECK(recv.size() == send.size() * static_cast<std::size_t>(size()),
                 "gather: recv is size() * send");
  std::byte* own = recv.data() + static_cast<std::size_t>(root) * send.size();
  if (own != send.data()) {
    if (auto copied = done(api_.copy(own, send.data(), send.size(), stream), "copy"); !copied) return copied;
  }
  std::string trouble = api_.begin_pairs();
  for (int from = 0; from < size() && trouble.empty(); ++from)
    if (from != root)
      trouble = api_.receive(group_, recv.data() + static_cast<std::size_t>(from) * send.size(), send.size(),
                             from, stream);
  const std::string ended = api_.end_pairs();
  return done(trouble.empty() ? ended : trouble, "gather");
}

Result<void> NcclCommunicator::broadcast(std::span<std::byte> buffer, int root, StreamHandle stream) {
  if (stream == nullptr) return hosts_->broadcast(buffer, root, nullptr);
  LEADLINE_CHECK(root >= 0 && root < size(), "broadcast: root is a rank of the group");
  if (auto alive = check(); !alive) return alive;
  return done(api_.broadcast(group_, buffer.data(), buffer.size(), root, stream), "broadcast");
}

Result<void> NcclCommunicator::all_reduce_sum(std::span<float> values, StreamHandle stream) {
  if (auto alive = check(); !alive) return alive;
  return done(api_.all_reduce(group_, values.data(), values.size(), stream), "all_reduce");
}

Result<void> NcclCommunicator::await_stream(StreamHandle stream) {
  const auto deadline = Clock::now() + stall_limit_;
  for (int polls = 0;; ++polls) {
    if (auto alive = check(); !alive) return alive;
    const StreamState state = api_.state_of(stream);
    if (state == StreamState::idle) return {};
    if (state == StreamState::failed) return done("the stream failed", "reports");
    if (Clock::now() >= deadline) return stalled();
    if (polls > kPollsBeforeSleep) std::this_thread::sleep_for(kNap);
  }
}

// The stream did not come to its end. Ranks that wait for a GPU come here too; the hosts' barrier names who
// does not.
Result<void> NcclCommunicator::stalled() {
  const std::string waited = std::to_string(stall_limit_.count()) + " ms";
  auto met = hosts_->barrier();
  abort_once();
  if (!met) return met;
  hosts_->fail("the GPUs stalled in a collective for " + waited + ", though every rank's host answers");
  return hosts_->check();
}

Result<std::unique_ptr<NcclCommunicator>> NcclCommunicator::split(int color,
                                                                  std::unique_ptr<Communicator> hosts) {
  NcclGroup part = nullptr;
  if (auto made = done(api_.split(group_, color, rank(), part), "split"); !made)
    return tl::unexpected(made.error());
  return std::unique_ptr<NcclCommunicator>(
      new NcclCommunicator(api_, nullptr, std::move(hosts), part, stall_limit_));
}

void register_device_communicator(DeviceCommunicatorMaker maker) {
  device_maker = maker;
}

Result<std::unique_ptr<Communicator>> wrap_for_device(std::unique_ptr<Communicator> hosts,
                                                      std::chrono::milliseconds stall_limit) {
  if (device_maker == nullptr)
    return monitoring::fail(Errc::configuration, "several ranks on GPUs need NCCL, and this build has none");
  return device_maker(std::move(hosts), stall_limit);
}

}  // namespace leadline::transport
