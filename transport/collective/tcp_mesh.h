#pragma once
// TcpMesh: one TCP connection between every two ranks, for tensors in host memory where ranks share no memory
// and no MPI started them. Not plans and not news of losses (group_link). Thread: the step thread.
// Invariants: connections carry messages of (round, bytes, payload), in order; a round that is not the
// expected one ends the group: ranks call the same collectives in the same order.

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "transport/collective/group_door.h"
#include "transport/collective/launch_place.h"

namespace leadline::transport {

class TcpMesh {
 public:
  // Ranks tell each other over the link where they listen, then each calls those below it. Needs the group's
  // token beyond loopback. timeout or io: which rank did not come.
  static Result<std::unique_ptr<TcpMesh>> form(GroupLink& link, const GroupIdentity& identity,
                                               SteadyTime deadline, std::chrono::milliseconds stall_limit);

  [[nodiscard]] HostPlace host_place() const { return host_place_; }

  // One round: what goes to and comes from each peer; spans empty where nothing does.
  struct Post {
    int peer;
    std::span<const std::byte> bytes;
  };
  struct Want {
    int peer;
    std::span<std::byte> bytes;
  };
  void begin(std::span<const Post> posts, std::span<const Want> wants);
  // Moves what can be moved without waiting. rank_lost: `lost_peer` closed or broke its connection.
  Result<bool> advance(int& lost_peer);  // true: the round is done
  void wait_a_little(std::chrono::milliseconds at_most);
  [[nodiscard]] int unfinished_peer() const;  // of the round at hand; a receive before a send

 private:
  struct Header {
    std::uint32_t magic, round;
    std::uint64_t bytes;
  };
  struct Flow {  // one direction of one connection in the round at hand
    std::array<std::byte, sizeof(Header)> header{};
    std::size_t moved = 0, total = 0;
    std::byte* payload = nullptr;
    [[nodiscard]] bool done() const { return moved == total; }
  };
  struct Peer {
    std::unique_ptr<GroupSocket> socket;  // null: this rank
    Flow out, in;
  };
  TcpMesh(std::vector<std::unique_ptr<GroupSocket>> sockets, HostPlace place);
  Result<void> send_some(Peer& peer);
  Result<void> receive_some(Peer& peer);

  std::vector<Peer> peers_;
  const HostPlace host_place_;
  std::uint32_t round_ = 0;
};

}  // namespace leadline::transport
