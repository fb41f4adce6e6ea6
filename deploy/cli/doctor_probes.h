#pragma once
// doctor_probes: look at this machine and measure it, a second or so each. Not judgement (doctor_rules).
// Thread: main. Invariants: every wait has a limit; nothing stays behind: files are unlinked while open,
// children are waited for or killed. A probe never fails: what it can't find out stays empty or is told in
// `error`.

#include <string>
#include <vector>

#include "deploy/cli/api_client.h"
#include "deploy/cli/doctor_facts.h"

namespace leadline::deploy {

CpuFacts probe_cpu();
MemoryFacts probe_memory();  // measures for about a second, with all cores
std::uint64_t probe_open_files();
ClockFacts probe_clock();
DiskFacts probe_disk(const std::string& folder);  // writes 64 MB
MpiFacts probe_mpi();
GpuFacts probe_gpu();
RedisFacts probe_redis(const std::string& address);  // HOST:PORT or redis://[:PASSWORD@]HOST[:PORT]
ModelFacts probe_model(const std::string& directory, const std::string& chat_template);
// `file`, or with "" exit_policy.* of the model's directory, as the worker looks for it.
PolicyFacts probe_policy(const std::string& file, const std::string& directory);
// HOST:PORT of admin ports; a name means every address behind it.
std::vector<WorkerFacts> probe_workers(const std::vector<std::string>& names);
ServerFacts probe_server(const ServerOptions& options, const std::string& admin_url);

// `leadline doctor-rank`: what mpirun starts for probe_mpi; not for people. Loads the MPI library at run
// time, so that `leadline` itself starts without it.
int run_doctor_rank();

}  // namespace leadline::deploy
