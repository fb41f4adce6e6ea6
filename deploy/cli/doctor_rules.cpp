#include "deploy/cli/doctor_rules.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "deploy/cli/console.h"
#include "monitoring/process_metrics.h"

namespace leadline::deploy {
namespace {

// Thresholds. Each is where a default configuration starts to lose, not a law.
constexpr double kSlowMemoryGbPerCore = 2.0;
constexpr double kSlowFsyncMs = 20, kSlowDiskMbPerS = 200, kSlowRedisMs = 2, kSlowFirstTokenMs = 5'000;
constexpr double kSlowAllreduceUs = 500;
constexpr std::uint64_t kMinShmBytes = std::uint64_t{256} << 20, kMinOpenFiles = 4096;
constexpr std::uint64_t kMinDiskBytes = std::uint64_t{1} << 30;
constexpr int kOldestYear = 2024;

Finding judge_cpu(const CpuFacts& cpu) {
  std::string features;
  const std::pair<bool, const char*> known[] = {
      {cpu.avx2, "AVX2"}, {cpu.avx512, "AVX-512"}, {cpu.vnni, "VNNI"}, {cpu.bf16, "BF16"}, {cpu.amx, "AMX"}};
  for (const auto& [has, name] : known) {
    if (has) features += (features.empty() ? "" : ", ") + std::string(name);
  }
  const std::string what = (cpu.name.empty() ? "CPU" : cpu.name) + ", " + std::to_string(cpu.cores) +
                           " cores: " + (features.empty() ? "no vector extension" : features);
  if (!cpu.avx2) {
    return advice("cpu", what, "the scalar kernels run: several times slower than AVX2",
                  "use a CPU with AVX2, or in a virtual machine pass the host's CPU through");
  }
  if (!cpu.avx512) {
    return advice("cpu", what, "prefill runs with 8 lanes, not 16",
                  "nothing to repair; for CPU serving prefer machines with AVX-512");
  }
  return ok("cpu", what);
}

Finding judge_memory(const DoctorFacts& facts) {
  const MemoryFacts& memory = facts.memory;
  const std::string what =
      format_bytes(memory.total_bytes) + " of memory, " + format_bytes(memory.available_bytes) + " available";
  const std::uint64_t weights = facts.model ? facts.model->weight_bytes : 0;
  if (weights > memory.available_bytes) {
    return problem("memory.size", what + "; the model's weights alone are " + format_bytes(weights),
                   "the workers will be killed for memory while they load",
                   "free memory, use a machine with more, or a smaller model");
  }
  if (weights > 0 && weights + weights / 4 > memory.available_bytes) {
    return advice("memory.size", what + "; the model's weights are " + format_bytes(weights),
                  "little is left for KV pages: few sequences at once, short contexts",
                  "free memory or give a smaller --max-seqs and --kv-pool");
  }
  return ok("memory.size", what);
}

Finding judge_bandwidth(const DoctorFacts& facts) {
  const double speed = facts.memory.read_gb_per_s;
  if (speed <= 0) return skipped("memory.bandwidth", "not measured", "free 3 GB of memory and run again");
  std::string what = "memory is read at " + format_number(speed, 1) + " GB/s by all cores";
  if (facts.model && facts.model->weight_bytes > 0) {
    const double ceiling = speed * 1e9 / static_cast<double>(facts.model->weight_bytes);
    what += "; at most " + format_number(ceiling, 1) + " tokens/s for one sequence of this model on the CPU";
  }
  if (speed < kSlowMemoryGbPerCore * std::max(1, facts.cpu.cores) && speed < 20) {
    return advice("memory.bandwidth", what, "each decoded token reads all weights: decoding is bound by this",
                  "stop other work on the machine; fill all memory channels; check NUMA binding");
  }
  return ok("memory.bandwidth", what);
}

Finding judge_huge_pages(const MemoryFacts& memory) {
  if (memory.huge_pages == "always" || memory.huge_pages == "madvise") {
    return ok("memory.huge_pages", "transparent huge pages: " + memory.huge_pages);
  }
  if (memory.huge_pages.empty()) {
    return skipped("memory.huge_pages", "the kernel does not tell", "look at /sys/kernel/mm on the host");
  }
  return advice("memory.huge_pages", "transparent huge pages: " + memory.huge_pages,
                "more TLB misses while weights are read: some per cent of decoding",
                "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled");
}

Finding judge_shm(const MemoryFacts& memory) {
  const std::string what = "/dev/shm has " + format_bytes(memory.shm_free_bytes) + " free";
  if (!memory.shm_writable) {
    return problem("shm", "/dev/shm cannot be written", "ranks of one machine cannot share memory: MPI fails",
                   "mount a tmpfs at /dev/shm; in Kubernetes an emptyDir with medium: Memory");
  }
  if (memory.shm_free_bytes < kMinShmBytes) {
    return problem("shm", what, "MPI's shared memory between ranks may not fit: a bus error under load",
                   "docker run --shm-size=1g, or in Kubernetes an emptyDir with medium: Memory");
  }
  return ok("shm", what);
}

Finding judge_open_files(std::uint64_t limit) {
  const std::string what = "open files: at most " + std::to_string(limit);
  if (limit >= kMinOpenFiles) return ok("open_files", what);
  return advice("open_files", what, "the coordinator serves up to 2048 connections and runs out before that",
                "raise the hard limit: ulimit -Hn 65536, LimitNOFILE= in systemd");
}

Finding judge_disk(const DiskFacts& disk) {
  if (!disk.error.empty()) {
    return problem("disk", disk.folder + ": " + disk.error, "nothing can be cached on disk",
                   "give a folder that can be written: --cache-dir");
  }
  const std::string what = disk.folder + ": writes " + format_number(disk.write_mb_per_s, 0) +
                           " MB/s, reads " + format_number(disk.read_mb_per_s, 0) + " MB/s, fsync " +
                           format_number(disk.fsync_ms, 2) + " ms, O_DIRECT " +
                           (disk.direct ? "works" : "does not work") + ", " + format_bytes(disk.free_bytes) +
                           " free";
  if (disk.free_bytes < kMinDiskBytes) {
    return advice("disk", what, "a disk cache has no room", "free space, or another --cache-dir");
  }
  if (!disk.direct) {
    return advice("disk", what, "cached pages also fill the page cache: memory is used twice",
                  "use a file system with O_DIRECT (ext4, xfs), not overlay or tmpfs");
  }
  if (disk.write_mb_per_s < kSlowDiskMbPerS || disk.fsync_ms > kSlowFsyncMs) {
    return advice("disk", what, "recomputing short prefixes will be faster than reading them back",
                  "use a local NVMe disk for the cache");
  }
  return ok("disk", what);
}

Finding judge_mpi(const MpiFacts& mpi) {
  if (mpi.launcher.empty()) {
    return problem("mpi", "mpirun is not installed", "a worker has one rank at most: --ranks 1",
                   "apt-get install openmpi-bin libopenmpi3");
  }
  if (!mpi.hello) {
    return problem("mpi", mpi.launcher + ": two ranks did not meet: " + mpi.error,
                   "workers of more than one rank will not start",
                   "run `mpirun -n 2 hostname`; in containers check /dev/shm and seccomp");
  }
  const std::string what = mpi.launcher + ": two ranks met; an allreduce of 4 KB takes " +
                           format_number(mpi.allreduce_us, 1) + " us";
  if (mpi.allreduce_us > kSlowAllreduceUs) {
    return advice("mpi", what, "two such sums per layer and token: decoding waits for them",
                  "fewer ranks than cores; no other work on the machine");
  }
  return ok("mpi", what);
}

Finding judge_gpu(const GpuFacts& gpu) {
  if (!gpu.driver) return ok("gpu", "no NVIDIA GPU here: models run on the CPU");
  if (gpu.devices.empty()) {
    return problem("gpu", "the NVIDIA driver is loaded, but no GPU answers: " + gpu.error,
                   "--device cuda will not start",
                   "run nvidia-smi; in containers check --gpus and the toolkit");
  }
  std::string what = std::to_string(gpu.devices.size()) + " GPU(s): " + gpu.devices.front();
  if (gpu.devices.size() > 1 && !gpu.nccl_version) {
    return problem("gpu", what + "; NCCL is missing", "workers over several GPUs will not start",
                   "install libnccl2 of the driver's CUDA version");
  }
  if (gpu.nccl_version) {
    const int v = *gpu.nccl_version;
    what += "; NCCL " + std::to_string(v / 10'000) + "." + std::to_string(v / 100 % 100) + "." +
            std::to_string(v % 100);
  }
  return ok("gpu", what);
}

Finding judge_clock(const ClockFacts& clock) {
  std::string what = "clock source " + (clock.source.empty() ? "unknown" : clock.source);
  if (clock.year < kOldestYear) {
    return problem("clock", what + "; the date says " + std::to_string(clock.year),
                   "certificates are refused, logs cannot be compared", "set the clock; run chrony");
  }
  if (clock.source == "hpet" || clock.source == "acpi_pm") {
    return advice("clock", what, "reading the time is a slow system call: some per cent of decoding",
                  "boot with tsc=reliable where the hardware allows it");
  }
  if (clock.synchronized && !*clock.synchronized) {
    return advice("clock", what + "; not synchronized by this kernel's account",
                  "logs of several machines cannot be put in order",
                  "run chrony or systemd-timesyncd on the host");
  }
  return ok("clock", what);
}

Finding judge_port(const PortFacts& port) {
  std::string what = port.what + ": port " + std::to_string(port.first);
  if (port.count > 1) what += " to " + std::to_string(port.first + port.count - 1);
  const std::string check = "port." + port.what;
  if (port.free) return ok(check, what + " is free");
  return advice(check, what + " is taken",
                "`leadline up` takes other ones, or refuses where you asked for these",
                "a server of yours? --url checks it; else ss -ltnp shows who: end it, or give --port");
}

Finding judge_redis(const std::optional<RedisFacts>& redis) {
  if (!redis) return skipped("redis", "not asked for", "--redis HOST:PORT checks one");
  if (!redis->error.empty()) {
    const bool named = redis->error.starts_with(redis->address);
    return problem("redis", named ? redis->error : redis->address + ": " + redis->error,
                   "nothing is shared between machines",
                   "check address, password and firewall; serving goes on without it");
  }
  const std::string what = redis->address + " answers in " + format_number(redis->ping_ms, 2) + " ms";
  if (redis->ping_ms > kSlowRedisMs) {
    return advice("redis", what, "recomputing short prefixes is faster than fetching them",
                  "put Redis into the same zone as the workers");
  }
  return ok("redis", what);
}

void judge_model(const std::optional<ModelFacts>& model, std::vector<Finding>& out) {
  if (!model) {
    for (const char* check : {"model.config", "model.weights", "model.tokenizer", "model.chat_template"})
      out.push_back(skipped(check, "no model given", "--model DIR checks one"));
    return;
  }
  const char* again = "download the checkpoint again, all its files";
  out.push_back(model->config_error.empty()
                    ? ok("model.config", model->directory + ": " + model->family)
                    : problem("model.config", model->config_error, "the workers will not start",
                              "use a Llama, Mistral or Qwen2/3 checkpoint as downloaded"));
  if (!model->config_error.empty()) {
    out.push_back(skipped("model.weights", "needs a config.json that can be used", "repair that first"));
  } else {
    out.push_back(model->weights_error.empty()
                      ? ok("model.weights", std::to_string(model->tensors) + " tensors, " +
                                                format_bytes(model->weight_bytes) + ", names and shapes fit")
                      : problem("model.weights", model->weights_error, "the workers will not start", again));
  }
  out.push_back(model->tokenizer_error.empty() ? ok("model.tokenizer", "the tokenizer loads")
                                               : problem("model.tokenizer", model->tokenizer_error,
                                                         "the coordinator will not start", again));
  if (!model->template_error.empty()) {
    out.push_back(problem("model.chat_template", model->template_error, "the coordinator will not start",
                          "give one with --chat-template FILE"));
  } else if (!model->has_template) {
    out.push_back(advice("model.chat_template", "the checkpoint has no chat template",
                         "/v1/chat/completions answers 400; completions work",
                         "use the -Instruct checkpoint, or give one with --chat-template FILE"));
  } else {
    out.push_back(ok("model.chat_template", "the chat template loads"));
  }
}

Finding judge_server(const std::optional<ServerFacts>& server) {
  if (!server) return skipped("server", "not asked for", "--url URL checks a running one");
  if (!server->error.empty()) {
    return problem("server", server->url + ": " + server->error, "clients get no answer",
                   "is `leadline up` running? Is the API key right (--api-key)?");
  }
  std::string what = server->url + ": version " + server->version;
  if (server->workers >= 0) {
    what += ", " + std::to_string(server->ready_workers) + " of " + std::to_string(server->workers) +
            " workers ready";
  }
  if (server->readyz && *server->readyz != 200) {
    return problem("server", what + "; /readyz says " + std::to_string(*server->readyz),
                   "load balancers send it nothing", "look at the workers' logs: loading, or lost?");
  }
  what += ", first token after " + format_number(server->first_token_ms, 0) + " ms";
  if (server->workers > 0 && server->ready_workers < server->workers) {
    return advice("server", what, "less capacity than was paid for", "look at the logs of those not ready");
  }
  if (server->first_token_ms > kSlowFirstTokenMs) {
    return advice("server", what, "people wait", "leadline_request_queue_seconds tells queue from prefill");
  }
  return ok("server", what);
}

}  // namespace

std::vector<Finding> judge(const DoctorFacts& facts) {
  std::vector<Finding> out = {judge_cpu(facts.cpu),    judge_memory(facts),
                              judge_bandwidth(facts),  judge_huge_pages(facts.memory),
                              judge_shm(facts.memory), judge_open_files(facts.max_open_files),
                              judge_disk(facts.disk),  judge_mpi(facts.mpi),
                              judge_gpu(facts.gpu),    judge_clock(facts.clock)};
  for (const PortFacts& port : facts.ports) out.push_back(judge_port(port));
  out.push_back(judge_redis(facts.redis));
  judge_model(facts.model, out);
  out.push_back(judge_policy(facts.policy));
  out.push_back(judge_server(facts.server));
  out.push_back(judge_workers(facts.workers));
  return out;
}

bool is_healthy(const std::vector<Finding>& findings) {
  return std::none_of(findings.begin(), findings.end(),
                      [](const Finding& f) { return f.status == FindingStatus::problem; });
}

const char* status_name(FindingStatus status) {
  switch (status) {
    case FindingStatus::ok:
      return "ok";
    case FindingStatus::advice:
      return "advice";
    case FindingStatus::problem:
      return "problem";
    case FindingStatus::skipped:
      return "skipped";
  }
  return "skipped";
}

std::string to_json(const std::vector<Finding>& findings) {
  nlohmann::ordered_json out;
  out["schema"] = 1;
  out["version"] = monitoring::build_version();
  out["healthy"] = is_healthy(findings);
  out["findings"] = nlohmann::ordered_json::array();
  for (const Finding& f : findings) {
    out["findings"].push_back({{"check", f.check},
                               {"status", status_name(f.status)},
                               {"what", f.what},
                               {"cost", f.cost},
                               {"action", f.action}});
  }
  return out.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace leadline::deploy
