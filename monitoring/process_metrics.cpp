#include "monitoring/process_metrics.h"

#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>

namespace leadline::monitoring {
namespace {

double resident_bytes() {
  std::FILE* file = std::fopen("/proc/self/statm", "re");
  if (file == nullptr) return 0;
  long size = 0, resident = 0;
  const int fields = std::fscanf(file, "%ld %ld", &size, &resident);
  std::fclose(file);
  return fields == 2 ? static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE)) : 0;
}

double open_descriptors() {
  DIR* directory = opendir("/proc/self/fd");
  if (directory == nullptr) return 0;
  double count = -1;  // the directory's own descriptor
  while (const dirent* entry = readdir(directory)) {
    if (entry->d_name[0] != '.') ++count;
  }
  closedir(directory);
  return count;
}

double cpu_seconds() {
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

}  // namespace

std::string_view build_version() {
  return LEADLINE_VERSION;
}

void register_process_metrics(MetricsRegistry& registry, std::string_view component) {
  registry
      .gauge(
          "leadline_build_info", "Constant 1; what this process was built from.",
          {{"component", std::string(component)}, {"version", LEADLINE_VERSION}, {"compiler", __VERSION__}})
      .set(1);
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  registry.gauge("leadline_process_start_time_seconds", "Start of this process, Unix time.")
      .set(std::chrono::duration<double>(now).count());
  const char* restarts = std::getenv(kRestartsVariable);
  registry.counter("leadline_process_restarts_total", "Times the supervisor has restarted this process.")
      .inc(restarts != nullptr ? std::max(0.0, std::strtod(restarts, nullptr)) : 0.0);
  registry.gauge_from("leadline_process_resident_memory_bytes", "Resident memory of this process.",
                      resident_bytes);
  registry.gauge_from("leadline_process_open_descriptors", "Open file descriptors of this process.",
                      open_descriptors);
  registry.gauge_from("leadline_process_cpu_seconds", "Processor time used since start, all threads.",
                      cpu_seconds);
}

}  // namespace leadline::monitoring
