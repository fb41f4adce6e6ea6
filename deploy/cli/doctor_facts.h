#pragma once
// DoctorFacts: what `leadline doctor` measured or read on this machine, before any judgement. Not findings
// (doctor_rules). An empty optional means: not asked for, or could not be found out; `*_error` then says why.
// Thread: values.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace leadline::deploy {

struct CpuFacts {
  int cores = 0;
  std::string name;
  bool avx2 = false, avx512 = false, vnni = false, bf16 = false, amx = false;
};

struct MemoryFacts {
  std::uint64_t total_bytes = 0, available_bytes = 0;
  double read_gb_per_s = 0;          // all cores together, GB = 10^9; 0 = not measured
  std::string huge_pages;            // transparent_hugepage: "always", "madvise", "never", "" = unknown
  std::uint64_t shm_free_bytes = 0;  // of /dev/shm
  bool shm_writable = false;
};

struct DiskFacts {
  std::string folder, error;                                   // error: nothing could be written
  bool direct = false;                                         // O_DIRECT works
  double write_mb_per_s = 0, read_mb_per_s = 0, fsync_ms = 0;  // fsync: median of a 4 KiB write made durable
  std::uint64_t free_bytes = 0;
};

struct MpiFacts {
  std::string launcher;  // first line of mpirun --version; "" = not found
  bool hello = false;    // two ranks met and reduced a number
  double allreduce_us = 0;
  std::string error;
};

struct GpuFacts {
  bool driver = false;               // /dev/nvidiactl exists
  std::vector<std::string> devices;  // "NVIDIA H100, 81559 MiB, …"
  std::optional<int> nccl_version;   // 22703 = 2.27.3
  std::string error;
};

struct RedisFacts {
  std::string address, error;
  double ping_ms = 0;  // median
};

struct ClockFacts {
  std::string source;  // "tsc"
  int year = 0;
  std::optional<bool> synchronized;  // by the kernel's own account
};

struct PortFacts {
  int first = 0, count = 1;
  std::string what;
  bool free = false;
};

struct ModelFacts {
  std::string directory;
  std::string config_error, weights_error, tokenizer_error, template_error;
  bool has_template = false;
  std::uint64_t weight_bytes = 0;
  std::string family;
  int tensors = 0;
};

struct PolicyFacts {
  std::string path, error;  // path "": none beside the model
  std::string provenance;
  int layers = 0, model_layers = 0;  // of the policy, of the model; 0 = unknown
};

// One worker, by its admin port.
struct WorkerFacts {
  std::string address, error;
  int readyz = 0;                  // HTTP status
  std::string why, version;        // why: its answer when it is not ready
  std::string policy;              // that decides; "" = not told
  std::vector<std::string> tiers;  // of its KV, not ok: "redis down"
  double step_age_s = 0;
};

struct ServerFacts {
  std::string url, error;
  std::string version;
  std::optional<int> readyz;             // HTTP status of the admin port; empty: not asked for
  int ready_workers = -1, workers = -1;  // -1: not told
  double first_token_ms = 0;
};

struct DoctorFacts {
  CpuFacts cpu;
  MemoryFacts memory;
  std::uint64_t max_open_files = 0;  // the hard limit, which the programs raise themselves to
  DiskFacts disk;
  MpiFacts mpi;
  GpuFacts gpu;
  ClockFacts clock;
  std::vector<PortFacts> ports;
  std::optional<RedisFacts> redis;
  std::optional<ModelFacts> model;
  std::optional<PolicyFacts> policy;
  std::optional<ServerFacts> server;
  std::optional<std::vector<WorkerFacts>> workers;
};

}  // namespace leadline::deploy
