#include "transport/collective/launch_place.h"

#include <charconv>
#include <cstdlib>

namespace leadline::transport {

namespace {

Result<int> whole_number(const std::string& name, const std::string& text, int low, int high) {
  int value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc() || end != text.data() + text.size() || value < low || value > high) {
    return monitoring::fail(Errc::configuration, name + "=\"" + text + "\": expected " + std::to_string(low) +
                                                     " to " + std::to_string(high));
  }
  return value;
}

// HOST:PORT or [V6]:PORT.
Result<void> take_meeting(const std::string& name, const std::string& text, LaunchPlace& place) {
  const auto colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0)
    return monitoring::fail(Errc::configuration, name + "=\"" + text + "\": expected HOST:PORT of rank 0");
  auto port = whole_number("port of " + name, text.substr(colon + 1), 1, 65535);
  if (!port) return tl::unexpected(std::move(port).error());
  place.port = static_cast<std::uint16_t>(*port);
  place.host = text.substr(0, colon);
  if (place.host.size() > 2 && place.host.front() == '[' && place.host.back() == ']')
    place.host = place.host.substr(1, place.host.size() - 2);
  return {};
}

struct Names {
  const char *world, *rank, *meeting;
};

Result<LaunchPlace> place_of(LaunchPlace::Source source, const Names& names, const std::string& world,
                             const std::string& rank, const std::string& meeting) {
  LaunchPlace place;
  place.source = source;
  auto size = whole_number(names.world, world, 1, kMaxRanks);
  if (!size) return tl::unexpected(std::move(size).error());
  place.world = *size;
  if (*size == 1 && rank.empty()) return place;
  auto own = whole_number(names.rank, rank, 0, *size - 1);
  if (!own) return tl::unexpected(std::move(own).error());
  place.rank = *own;
  if (*size == 1) return place;
  if (auto met = take_meeting(names.meeting, meeting, place); !met) return tl::unexpected(met.error());
  return place;
}

// The first number of Slurm's "4(x2),3".
int leading_number(const std::string& text) {
  int value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

}  // namespace

std::string process_environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

Result<LaunchPlace> launch_place(const LaunchFlags& flags, const EnvironmentReader& environment) {
  if (flags.world == 0 && (flags.rank >= 0 || !flags.rendezvous.empty()))
    return monitoring::fail(Errc::configuration, "--rank and --rendezvous need --world");
  if (flags.world != 0)
    return place_of(LaunchPlace::Source::flags, {"--world", "--rank", "--rendezvous"},
                    std::to_string(flags.world), flags.rank < 0 ? "" : std::to_string(flags.rank),
                    flags.rendezvous);
  const std::string world = environment("LEADLINE_WORLD");
  if (world.empty()) return LaunchPlace{};
  return place_of(LaunchPlace::Source::leadline, {"LEADLINE_WORLD", "LEADLINE_RANK", "LEADLINE_RENDEZVOUS"},
                  world, environment("LEADLINE_RANK"), environment("LEADLINE_RENDEZVOUS"));
}

Result<LaunchPlace> leader_worker_set_place(const EnvironmentReader& environment) {
  const std::string pods = environment("LWS_GROUP_SIZE");
  if (pods.empty()) return LaunchPlace{};
  std::string port = environment("LEADLINE_RENDEZVOUS_PORT");
  if (port.empty()) port = std::to_string(kRendezvousPort);
  const std::string leader = environment("LWS_LEADER_ADDRESS");
  auto place = place_of(LaunchPlace::Source::leader_worker_set,
                        {"LWS_GROUP_SIZE", "LWS_WORKER_INDEX", "LWS_LEADER_ADDRESS:LEADLINE_RENDEZVOUS_PORT"},
                        pods, environment("LWS_WORKER_INDEX"), leader + ":" + port);
  if (place) place->listen_everywhere = place->world > 1;
  return place;
}

HostPlace host_place(const EnvironmentReader& environment, HostPlace otherwise) {
  struct Pair {
    const char *rank, *ranks;
  };
  constexpr Pair kLaunchers[] = {{"OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"},
                                 {"MPI_LOCALRANKID", "MPI_LOCALNRANKS"},
                                 {"SLURM_LOCALID", "SLURM_STEP_TASKS_PER_NODE"}};
  for (const Pair& pair : kLaunchers) {
    const std::string rank = environment(pair.rank), ranks = environment(pair.ranks);
    if (rank.empty() || ranks.empty()) continue;
    const HostPlace told{leading_number(rank), leading_number(ranks)};
    if (told.ranks >= 1 && told.rank >= 0 && told.rank < told.ranks) return told;
  }
  return otherwise;
}

}  // namespace leadline::transport
