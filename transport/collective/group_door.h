#pragma once
// GroupDoor: how the star forms: rank 0 listens, the others knock with their rank and the group's token. Not
// a resolver of ranks: rank, size and token come from the launcher or the environment (bootstrap). Thread:
// called at start, from main. Invariants: beyond loopback a token is required; a wrong token, size or rank is
// answered with the reason and closed; a stranger who says nothing holds the door for 2 s at most.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "transport/collective/group_link.h"

namespace leadline::transport {

struct GroupIdentity {
  int rank = 0, size = 1;
  std::string token;  // at most 256 bytes; empty only on loopback
};

class GroupDoor {
 public:
  // host: a literal address or a name of this machine; "" = every address. port 0 = any.
  static Result<std::unique_ptr<GroupDoor>> open(const std::string& host, std::uint16_t port,
                                                 const GroupIdentity& identity);
  ~GroupDoor();
  GroupDoor(const GroupDoor&) = delete;
  GroupDoor& operator=(const GroupDoor&) = delete;
  [[nodiscard]] std::uint16_t port() const { return port_; }
  // Rank 0: waits for ranks 1 to size - 1. timeout names those who did not come.
  Result<std::unique_ptr<GroupLink>> admit_all(SteadyTime deadline, std::chrono::milliseconds stall_limit);

  // Any rank: waits for ranks from `lowest` on to call, into sockets[rank]; those that are there are kept.
  Result<void> admit(int lowest, std::vector<std::unique_ptr<GroupSocket>>& sockets, SteadyTime deadline);

  // Tries the hosts in turn until the door there lets this rank in.
  static Result<std::unique_ptr<GroupSocket>> call(const std::vector<std::string>& hosts, std::uint16_t port,
                                                   const GroupIdentity& identity, SteadyTime deadline);
  // Other ranks: tries the hosts in turn until rank 0 answers.
  static Result<std::unique_ptr<GroupLink>> knock(const std::vector<std::string>& hosts, std::uint16_t port,
                                                  const GroupIdentity& identity, SteadyTime deadline,
                                                  std::chrono::milliseconds stall_limit);

 private:
  GroupDoor(int fd, std::uint16_t port, GroupIdentity identity);
  void admit_one(int lowest, std::vector<std::unique_ptr<GroupSocket>>& sockets, SteadyTime deadline);
  const int fd_;
  const std::uint16_t port_;
  const GroupIdentity identity_;
};

// Addresses at which other hosts may reach this one: of `interface` when given, else of every interface that
// is up and not loopback, IPv4 first. Literals.
std::vector<std::string> reachable_addresses(const std::string& interface);

}  // namespace leadline::transport
