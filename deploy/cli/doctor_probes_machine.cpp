// CPU, memory, limits and clock: what the kernel tells, and one short measurement (machine_probe).
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <fstream>
#include <sstream>
#include <thread>

#include "deploy/cli/doctor_probes.h"
#include "deploy/cli/machine_probe.h"

namespace leadline::deploy {
namespace {

constexpr std::uint64_t kProbeRoom = std::uint64_t{3}
                                     << 30;  // available memory below which nothing is measured
constexpr int kMostThreads = 256;

std::string read_line(const char* path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

}  // namespace

CpuFacts probe_cpu() {
  CpuFacts facts;
  facts.cores = static_cast<int>(std::thread::hardware_concurrency());
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("model name")) facts.name = line.substr(line.find(':') + 2);
    if (!line.starts_with("flags")) continue;
    std::istringstream words(line);
    bool f = false, bw = false, vl = false;
    for (std::string word; words >> word;) {
      facts.avx2 |= word == "avx2";
      facts.vnni |= word == "avx512_vnni";
      facts.bf16 |= word == "avx512_bf16";
      facts.amx |= word == "amx_tile";
      f |= word == "avx512f";
      bw |= word == "avx512bw";
      vl |= word == "avx512vl";
    }
    facts.avx512 = f && bw && vl;
    break;
  }
  return facts;
}

MemoryFacts probe_memory() {
  MemoryFacts facts;
  std::ifstream in("/proc/meminfo");
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string name;
    std::uint64_t kib = 0;
    words >> name >> kib;
    if (name == "MemTotal:") facts.total_bytes = kib * 1024;
    if (name == "MemAvailable:") facts.available_bytes = kib * 1024;
  }
  if (facts.available_bytes > kProbeRoom) {
    const int cores = static_cast<int>(std::thread::hardware_concurrency());
    facts.read_gb_per_s = probe_machine(std::clamp(cores, 1, kMostThreads)).read_gb_per_s;
  }
  const std::string modes =
      read_line("/sys/kernel/mm/transparent_hugepage/enabled");  // "always [madvise] never"
  const std::size_t open = modes.find('['), close = modes.find(']');
  if (open != std::string::npos && close != std::string::npos && open < close)
    facts.huge_pages = modes.substr(open + 1, close - open - 1);
  struct statvfs shm {};
  if (statvfs("/dev/shm", &shm) == 0) facts.shm_free_bytes = std::uint64_t{shm.f_bavail} * shm.f_frsize;
  facts.shm_writable = access("/dev/shm", W_OK | X_OK) == 0;
  return facts;
}

std::uint64_t probe_open_files() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  return limit.rlim_max == RLIM_INFINITY ? std::uint64_t{1} << 30 : limit.rlim_max;
}

ClockFacts probe_clock() {
  ClockFacts facts;
  facts.source = read_line("/sys/devices/system/clocksource/clocksource0/current_clocksource");
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  facts.year = utc.tm_year + 1900;
  timex state{};
  const int result = adjtimex(&state);  // reads only: modes is 0
  if (result >= 0) facts.synchronized = (state.status & STA_UNSYNC) == 0;
  return facts;
}

}  // namespace leadline::deploy
