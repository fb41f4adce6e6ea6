#include "transport/collective/bootstrap.h"

#include <sys/random.h>

#include <cstdlib>

#include "monitoring/log.h"
#include "transport/collective/group_door.h"
#include "transport/collective/identity_communicator.h"
#include "transport/collective/mpi_session.h"
#include "transport/collective/shm_communicator.h"
#include "transport/collective/tcp_communicator.h"

namespace leadline::transport {

namespace {

using CommunicatorResult = Result<std::unique_ptr<Communicator>>;
using Clock = std::chrono::steady_clock;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

Result<int> whole_number(const char* name, const std::string& text, int low, int high) {
  char* end = nullptr;
  const long value = std::strtol(text.c_str(), &end, 10);
  if (text.empty() || *end != '\0' || value < low || value > high) {
    return monitoring::fail(Errc::configuration, std::string(name) + "=\"" + text + "\": expected " +
                                                     std::to_string(low) + " to " + std::to_string(high));
  }
  return static_cast<int>(value);
}

// ---- ranks that an MPI launcher started

std::string random_token() {
  unsigned char bytes[32];
  if (::getrandom(bytes, sizeof bytes, 0) != sizeof bytes) return {};
  std::string hex;
  for (unsigned char byte : bytes) {
    hex.push_back("0123456789abcdef"[byte >> 4]);
    hex.push_back("0123456789abcdef"[byte & 15]);
  }
  return hex;
}

// "token port host host ..." from rank 0; an empty text means that rank 0 could not listen.
struct Meeting {
  std::string token;
  int port = 0;
  std::vector<std::string> hosts;
};
std::string to_text(const Meeting& meeting) {
  std::string text = meeting.token + " " + std::to_string(meeting.port);
  for (const std::string& host : meeting.hosts) {
    if (text.size() + host.size() < 4000) text += " " + host;
  }
  return text;
}
Result<Meeting> meeting_from(const std::string& text) {
  std::vector<std::string> words(1);
  for (char c : text) {
    if (c == ' ') {
      words.emplace_back();
    } else {
      words.back().push_back(c);
    }
  }
  if (words.size() < 3) return monitoring::fail(Errc::io, "rank 0 could not open the group's door");
  auto port = whole_number("port", words[1], 1, 65535);
  if (!port) return tl::unexpected(std::move(port).error());
  return Meeting{words[0], *port, {words.begin() + 2, words.end()}};
}

Result<std::unique_ptr<GroupLink>> link_over_mpi(MpiSession& mpi, const BootstrapOptions& options,
                                                 SteadyTime deadline) {
  if (mpi.rank() != 0) {
    auto text = mpi.share_text("", deadline);
    if (!text) return tl::unexpected(std::move(text).error());
    auto meeting = meeting_from(*text);
    if (!meeting) return tl::unexpected(std::move(meeting).error());
    return GroupDoor::knock(meeting->hosts, static_cast<std::uint16_t>(meeting->port),
                            {mpi.rank(), mpi.size(), meeting->token}, deadline, options.stall_limit);
  }
  Meeting meeting;
  meeting.token = random_token();
  std::string bind_to = "127.0.0.1";
  const std::string interface = environment("LEADLINE_GROUP_INTERFACE");
  if (mpi.one_host()) {
    meeting.hosts = {"127.0.0.1"};
  } else {
    meeting.hosts = reachable_addresses(interface);
    bind_to =
        interface.empty() ? "" : (meeting.hosts.empty() ? "no address on " + interface : meeting.hosts[0]);
    if (!interface.empty()) meeting.hosts.resize(std::min<std::size_t>(meeting.hosts.size(), 1));
  }
  auto door = GroupDoor::open(bind_to, 0, {0, mpi.size(), meeting.token});
  if (door) meeting.port = (*door)->port();
  auto shared = mpi.share_text(door && !meeting.hosts.empty() ? to_text(meeting) : "", deadline);
  if (!door) return tl::unexpected(std::move(door).error());
  if (!shared) return tl::unexpected(std::move(shared).error());
  if (meeting.hosts.empty())
    return monitoring::fail(Errc::configuration, "rank 0 has no address beyond loopback");
  return (*door)->admit_all(deadline, options.stall_limit);
}

CommunicatorResult bootstrap_mpi(const BootstrapOptions& options, SteadyTime deadline) {
  auto started = MpiSession::start();
  if (!started) return tl::unexpected(std::move(started).error());
  std::unique_ptr<MpiSession> mpi = std::move(*started);
  const int rank = mpi->rank(), size = mpi->size();
  const bool one_host = mpi->one_host();
  if (size == 1) {
    mpi->close();
    return std::make_unique<IdentityCommunicator>();
  }
  if (options.backend == "shm" && !one_host) {
    return monitoring::fail(Errc::configuration, "backend shm: the ranks are on several hosts");
  }
  auto link = link_over_mpi(*mpi, options, deadline);
  if (!link) return tl::unexpected(std::move(link).error());
  if (one_host && options.backend != "mpi") {
    std::unique_ptr<LaunchSession> session = std::move(mpi);
    auto shm = ShmCommunicator::create(rank, size, *link, session, options.stall_limit, deadline);
    if (shm || *link == nullptr || options.backend == "shm") return shm;
    if (shm.error().code != Errc::io) return shm;  // a rank is gone: no other transport would find it
    monitoring::log_warn("collective_shm_unavailable", {{"reason", shm.error().message}});
    mpi.reset(static_cast<MpiSession*>(session.release()));
  }
  // Nobody starts before all are here: the stall limit is not meant for start-up.
  auto all_here = (*link)->settle("", deadline);
  if (!all_here) return tl::unexpected(std::move(all_here).error());
  return make_mpi_communicator(std::move(mpi), std::move(*link), options.stall_limit);
}

// ---- ranks that were told who they are: flags, the environment, LeaderWorkerSet

std::string source_name(LaunchPlace::Source source) {
  return source == LaunchPlace::Source::flags      ? "flags"
         : source == LaunchPlace::Source::leadline ? "LEADLINE_WORLD"
                                                   : "LWS_GROUP_SIZE";
}

CommunicatorResult bootstrap_rendezvous(const LaunchPlace& place, const BootstrapOptions& options,
                                        SteadyTime deadline) {
  if (place.world == 1) return std::make_unique<IdentityCommunicator>();
  const GroupIdentity identity{place.rank, place.world, environment("LEADLINE_GROUP_TOKEN")};
  monitoring::log_info("group_meets", {{"told_by", source_name(place.source)},
                                       {"rank", place.rank},
                                       {"ranks", place.world},
                                       {"host", place.host},
                                       {"port", place.port}});
  Result<std::unique_ptr<GroupLink>> link = nullptr;
  if (place.rank == 0) {
    auto door = GroupDoor::open(place.listen_everywhere ? "" : place.host, place.port, identity);
    if (!door) return tl::unexpected(std::move(door).error());
    link = (*door)->admit_all(deadline, options.stall_limit);
  } else {
    link = GroupDoor::knock({place.host}, place.port, identity, deadline, options.stall_limit);
  }
  if (!link) return tl::unexpected(std::move(link).error());
  if (options.backend != "tcp") {
    std::unique_ptr<LaunchSession> none;
    auto shm = ShmCommunicator::create(place.rank, place.world, *link, none, options.stall_limit, deadline);
    if (shm || *link == nullptr || options.backend == "shm") return shm;
    if (shm.error().code != Errc::io) return shm;  // a rank is gone: no other transport would find it
    monitoring::log_info("collective_shm_unavailable", {{"reason", shm.error().message}});
  }
  return TcpCommunicator::create(identity, std::move(*link), options.stall_limit, deadline);
}

CommunicatorResult choose(const BootstrapOptions& options) {
  const auto deadline = Clock::now() + options.connect_limit;
  const std::string& backend = options.backend;
  if (backend != "auto" && backend != "identity" && backend != "mpi" && backend != "shm" &&
      backend != "tcp") {
    return monitoring::fail(Errc::configuration,
                            "collective backend \"" + backend + "\": auto, identity, mpi, shm or tcp");
  }
  const MpiLaunch launch = detect_mpi_launch();
  auto told = launch_place(options.launch, process_environment);
  if (!told) return tl::unexpected(std::move(told).error());
  if (backend == "identity") {
    if (launch.size > 1 || told->world > 1) {
      return monitoring::fail(Errc::configuration,
                              "backend identity: the launcher started more than one rank");
    }
    return std::make_unique<IdentityCommunicator>();
  }
  // Explicit ranks win over a launcher's: a worker of its own may be started inside somebody else's job.
  const bool explicitly = told->source != LaunchPlace::Source::none && backend != "mpi";
  if (explicitly) return bootstrap_rendezvous(*told, options, deadline);
  if (launch.present && launch.size != 1) return bootstrap_mpi(options, deadline);
  if (backend == "mpi" && !launch.present) {
    return monitoring::fail(Errc::configuration, "backend mpi: no MPI launcher started this process");
  }
  if (backend != "mpi") {
    auto lws = leader_worker_set_place(process_environment);
    if (!lws) return tl::unexpected(std::move(lws).error());
    return bootstrap_rendezvous(*lws, options, deadline);
  }
  return std::make_unique<IdentityCommunicator>();
}

}  // namespace

CommunicatorResult bootstrap(const BootstrapOptions& given) {
  BootstrapOptions options = given;
  if (const std::string forced = environment("LEADLINE_COLLECTIVE"); !forced.empty())
    options.backend = forced;
  auto chosen = choose(options);
  if (!chosen) return chosen;
  monitoring::log_info("collective_ready", {{"backend", (*chosen)->name()},
                                            {"asked", options.backend},
                                            {"rank", (*chosen)->rank()},
                                            {"ranks", (*chosen)->size()},
                                            {"stall_limit_ms", options.stall_limit.count()}});
  return chosen;
}

}  // namespace leadline::transport
