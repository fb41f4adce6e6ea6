#include "transport/collective/tcp_mesh.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "monitoring/check.h"

namespace leadline::transport {

namespace {

constexpr std::uint32_t kMagic = 0x4d4c4c31;  // "1LLM"
constexpr std::size_t kMaxEntry = 64;         // "ADDRESS PORT"; an IPv6 literal has 45 letters at most

struct Entry {
  std::string host;
  std::uint16_t port = 0;
};

// "HOST PORT", "" from a rank that could not listen.
Result<Entry> entry_of(int rank, const std::string& text) {
  const auto space = text.find(' ');
  const int port = space == std::string::npos ? 0 : std::atoi(text.c_str() + space + 1);
  if (space == 0 || port < 1 || port > 65535)
    return monitoring::fail(
        Errc::io, "rank " + std::to_string(rank) + " told no address: \"" + text.substr(0, kMaxEntry) + "\"");
  return Entry{text.substr(0, space), static_cast<std::uint16_t>(port)};
}

HostPlace place_among(const std::vector<Entry>& entries, int rank) {
  HostPlace place{0, 0};
  for (std::size_t other = 0; other < entries.size(); ++other) {
    if (entries[other].host != entries[static_cast<std::size_t>(rank)].host) continue;
    if (static_cast<int>(other) < rank) ++place.rank;
    ++place.ranks;
  }
  return place;
}

}  // namespace

Result<std::unique_ptr<TcpMesh>> TcpMesh::form(GroupLink& link, const GroupIdentity& identity,
                                               SteadyTime deadline, std::chrono::milliseconds stall_limit) {
  const std::string own_host = link.local_host();
  auto door = GroupDoor::open(own_host, 0, identity);
  // Every rank goes through the exchange, also one that cannot listen: the others would wait for it.
  const std::string own = door ? own_host + " " + std::to_string((*door)->port()) : "";
  auto texts = link.exchange(own, kMaxEntry, deadline);
  if (!door) return tl::unexpected(std::move(door).error());
  if (!texts) return tl::unexpected(std::move(texts).error());
  std::vector<Entry> entries;
  for (int rank = 0; rank < identity.size; ++rank) {
    auto entry = entry_of(rank, (*texts)[static_cast<std::size_t>(rank)]);
    if (!entry) return tl::unexpected(std::move(entry).error());
    entries.push_back(std::move(*entry));
  }
  std::vector<std::unique_ptr<GroupSocket>> sockets(static_cast<std::size_t>(identity.size));
  for (int below = 0; below < identity.rank; ++below) {
    const Entry& at = entries[static_cast<std::size_t>(below)];
    auto socket = GroupDoor::call({at.host}, at.port, identity, deadline);
    if (!socket)
      return monitoring::fail(Errc::timeout, "rank " + std::to_string(below) + " at " + at.host + ":" +
                                                 std::to_string(at.port) + ": " + socket.error().message);
    sockets[static_cast<std::size_t>(below)] = std::move(*socket);
  }
  if (auto come = (*door)->admit(identity.rank + 1, sockets, deadline); !come)
    return tl::unexpected(std::move(come).error());
  for (const auto& socket : sockets)
    if (socket != nullptr) socket->set_silence_limit(stall_limit);
  return std::unique_ptr<TcpMesh>(new TcpMesh(std::move(sockets), place_among(entries, identity.rank)));
}

TcpMesh::TcpMesh(std::vector<std::unique_ptr<GroupSocket>> sockets, HostPlace place)
    : peers_(sockets.size()), host_place_(place) {
  for (std::size_t rank = 0; rank < sockets.size(); ++rank) peers_[rank].socket = std::move(sockets[rank]);
}

void TcpMesh::begin(std::span<const Post> posts, std::span<const Want> wants) {
  ++round_;
  for (const Post& post : posts) {
    Flow& flow = peers_[static_cast<std::size_t>(post.peer)].out;
    LEADLINE_CHECK(flow.done(), "a round begins after the last one's end");
    const Header header{kMagic, round_, post.bytes.size()};
    std::memcpy(flow.header.data(), &header, sizeof header);
    flow.payload = const_cast<std::byte*>(post.bytes.data());
    flow.moved = 0;
    flow.total = sizeof header + post.bytes.size();
  }
  for (const Want& want : wants) {
    Flow& flow = peers_[static_cast<std::size_t>(want.peer)].in;
    LEADLINE_CHECK(flow.done(), "a round begins after the last one's end");
    flow.payload = want.bytes.data();
    flow.moved = 0;
    flow.total = sizeof(Header) + want.bytes.size();
  }
}

Result<void> TcpMesh::send_some(Peer& peer) {
  Flow& flow = peer.out;
  while (!flow.done()) {
    const bool in_header = flow.moved < sizeof(Header);
    const std::byte* from =
        in_header ? flow.header.data() + flow.moved : flow.payload + (flow.moved - sizeof(Header));
    const std::size_t count = (in_header ? sizeof(Header) : flow.total) - flow.moved;
    const int more = in_header && flow.total > sizeof(Header) ? MSG_MORE : 0;
    const ssize_t n = ::send(peer.socket->fd(), from, count, MSG_NOSIGNAL | MSG_DONTWAIT | more);
    if (n > 0) {
      flow.moved += static_cast<std::size_t>(n);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return {};
    } else if (errno != EINTR) {
      return monitoring::fail(Errc::closed, std::strerror(errno));
    }
  }
  return {};
}

Result<void> TcpMesh::receive_some(Peer& peer) {
  Flow& flow = peer.in;
  while (!flow.done()) {
    const bool in_header = flow.moved < sizeof(Header);
    std::byte* into =
        in_header ? flow.header.data() + flow.moved : flow.payload + (flow.moved - sizeof(Header));
    const std::size_t count = (in_header ? sizeof(Header) : flow.total) - flow.moved;
    const ssize_t n = ::recv(peer.socket->fd(), into, count, MSG_DONTWAIT);
    if (n == 0) return monitoring::fail(Errc::closed, "connection closed");
    if (n < 0) {
      if (errno == EAGAIN || errno == EWOULDBLOCK) return {};
      if (errno == EINTR) continue;
      return monitoring::fail(Errc::closed, std::strerror(errno));
    }
    flow.moved += static_cast<std::size_t>(n);
    if (!in_header || flow.moved != sizeof(Header)) continue;
    Header header;
    std::memcpy(&header, flow.header.data(), sizeof header);
    if (header.magic != kMagic || header.round != round_ || header.bytes != flow.total - sizeof header)
      return monitoring::fail(Errc::malformed, "round " + std::to_string(header.round) + " of " +
                                                   std::to_string(header.bytes) + " bytes where round " +
                                                   std::to_string(round_) + " of " +
                                                   std::to_string(flow.total - sizeof header) + " was due");
  }
  return {};
}

Result<bool> TcpMesh::advance(int& lost_peer) {
  bool all = true;
  for (std::size_t rank = 0; rank < peers_.size(); ++rank) {
    Peer& peer = peers_[rank];
    lost_peer = static_cast<int>(rank);
    // First what came: a peer that is gone may have sent its part before.
    if (auto got = receive_some(peer); !got) return tl::unexpected(std::move(got).error());
    if (auto sent = send_some(peer); !sent) return tl::unexpected(std::move(sent).error());
    all = all && peer.in.done() && peer.out.done();
  }
  lost_peer = -1;
  return all;
}

void TcpMesh::wait_a_little(std::chrono::milliseconds at_most) {
  std::vector<pollfd> entries;
  for (const Peer& peer : peers_) {
    const short events = static_cast<short>((peer.in.done() ? 0 : POLLIN) | (peer.out.done() ? 0 : POLLOUT));
    if (events != 0) entries.push_back({peer.socket->fd(), events, 0});
  }
  ::poll(entries.data(), entries.size(), static_cast<int>(at_most.count()));
}

int TcpMesh::unfinished_peer() const {
  for (std::size_t rank = 0; rank < peers_.size(); ++rank)
    if (!peers_[rank].in.done()) return static_cast<int>(rank);
  for (std::size_t rank = 0; rank < peers_.size(); ++rank)
    if (!peers_[rank].out.done()) return static_cast<int>(rank);
  return -1;
}

}  // namespace leadline::transport
