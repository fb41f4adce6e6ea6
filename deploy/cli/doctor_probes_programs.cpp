// What others run: Open MPI (a hello of two ranks), NVIDIA's driver and NCCL, Redis.
#include <dlfcn.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>

#include "deploy/cli/child_process.h"
#include "deploy/cli/client_stream.h"
#include "deploy/cli/doctor_probes.h"

namespace leadline::deploy {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds kProgramLimit{20}, kRedisLimit{3};
constexpr int kPings = 11, kReductions = 200, kReducedFloats = 1024;  // 4 KB: a hidden row of 1024
constexpr std::size_t kMaxReplyBytes = 64 << 10;

struct ProgramEnd {
  std::vector<std::string> lines;
  std::string error;  // "" = it ended with status 0
};

// Runs a program to its end, or kills it at the limit.
ProgramEnd run_program(std::vector<std::string> command) {
  ProgramEnd end;
  ChildSpec spec;
  spec.command = std::move(command);
  spec.environment = {{"OMPI_ALLOW_RUN_AS_ROOT", "1"},
                      {"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"}};  // as `up` does
  auto child = ChildProcess::spawn(spec);
  if (!child) {
    end.error = child.error().message;
    return end;
  }
  const auto deadline = Clock::now() + kProgramLimit;
  std::optional<int> status;
  while (!status && Clock::now() < deadline) {
    pollfd output{child->output_fd(), POLLIN, 0};
    poll(&output, output.fd >= 0 ? 1 : 0, 20);
    status = child->exit_status();
    for (std::string& line : child->read_lines()) end.lines.push_back(std::move(line));
  }
  if (!status) end.error = "no end within 20 s";
  if (status && *status != 0) end.error = describe_exit(*status);
  return end;
}

// The few entry points of Open MPI's library that the hello needs; its constants are symbols of the library.
struct MpiLibrary {
  void* handle = dlopen("libmpi.so.40", RTLD_NOW | RTLD_GLOBAL);
  void* symbol(const char* name) const { return handle == nullptr ? nullptr : dlsym(handle, name); }
  template <typename Function>
  Function* function(const char* name) const {
    return reinterpret_cast<Function*>(symbol(name));
  }
};

}  // namespace

int run_doctor_rank() {
  const MpiLibrary mpi;
  auto* init = mpi.function<int(int*, char***)>("MPI_Init");
  auto* rank_of = mpi.function<int(void*, int*)>("MPI_Comm_rank");
  auto* reduce = mpi.function<int(const void*, void*, int, void*, void*, void*)>("MPI_Allreduce");
  auto* finalize = mpi.function<int()>("MPI_Finalize");
  void* const world = mpi.symbol("ompi_mpi_comm_world");
  void* const type = mpi.symbol("ompi_mpi_float");
  void* const sum = mpi.symbol("ompi_mpi_op_sum");
  if (init == nullptr || rank_of == nullptr || reduce == nullptr || finalize == nullptr || world == nullptr ||
      type == nullptr || sum == nullptr) {
    std::printf("error libmpi.so.40 is missing or is not Open MPI\n");
    return 1;
  }
  if (init(nullptr, nullptr) != 0) return 1;
  int rank = -1;
  rank_of(world, &rank);
  std::vector<float> in(kReducedFloats, 1.0F), out(kReducedFloats);
  reduce(in.data(), out.data(), kReducedFloats, type, sum, world);  // the first one makes the connections
  const auto start = Clock::now();
  for (int i = 0; i < kReductions; ++i) reduce(in.data(), out.data(), kReducedFloats, type, sum, world);
  const double us = std::chrono::duration<double, std::micro>(Clock::now() - start).count() / kReductions;
  const bool right = out.front() == 2.0F && out.back() == 2.0F;
  finalize();
  if (rank == 0) std::printf(right ? "allreduce_us %.2f\n" : "error a wrong sum (%.2f us)\n", us);
  return right ? 0 : 1;
}

MpiFacts probe_mpi() {
  MpiFacts facts;
  const ProgramEnd version = run_program({"mpirun", "--version"});
  if (!version.error.empty() || version.lines.empty()) return facts;
  facts.launcher = version.lines.front();
  std::error_code ignored;
  const std::string self = std::filesystem::read_symlink("/proc/self/exe", ignored).string();
  const ProgramEnd hello = run_program(
      {"mpirun", "-n", "2", "--bind-to", "none", "--oversubscribe", self, "run-rank", self, "doctor-rank"});
  facts.error = hello.error.empty() ? "no answer" : hello.error;
  for (const std::string& line : hello.lines) {
    if (line.starts_with("error ")) facts.error = line.substr(6);
    if (hello.error.empty() && std::sscanf(line.c_str(), "allreduce_us %lf", &facts.allreduce_us) == 1)
      facts.hello = true;
  }
  if (facts.hello) facts.error.clear();
  return facts;
}

GpuFacts probe_gpu() {
  GpuFacts facts;
  facts.driver = access("/dev/nvidiactl", F_OK) == 0;
  if (void* nccl = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL); nccl != nullptr) {
    auto* get_version = reinterpret_cast<int (*)(int*)>(dlsym(nccl, "ncclGetVersion"));
    int version = 0;
    if (get_version != nullptr && get_version(&version) == 0) facts.nccl_version = version;
    dlclose(nccl);
  }
  if (!facts.driver) return facts;
  ProgramEnd smi = run_program(
      {"nvidia-smi", "--query-gpu=name,memory.total,driver_version,compute_cap", "--format=csv,noheader"});
  facts.error = smi.error;
  if (smi.error.empty()) facts.devices = std::move(smi.lines);
  return facts;
}

namespace {

struct RedisAddress {
  std::string host, port = "6379", user, password;
};

RedisAddress parse_redis(std::string text) {
  RedisAddress address;
  if (text.starts_with("redis://")) text.erase(0, 8);
  if (const auto slash = text.find('/'); slash != std::string::npos) text.resize(slash);
  if (const auto at = text.rfind('@'); at != std::string::npos) {
    const std::string words = text.substr(0, at);  // ":PASSWORD" or "USER:PASSWORD"
    const auto colon = words.find(':');
    if (colon != std::string::npos) address.user = words.substr(0, colon);
    address.password = words.substr(colon + 1);
    text.erase(0, at + 1);
  }
  const auto colon = text.rfind(':');
  if (colon != std::string::npos && text.find(']', colon) == std::string::npos) {
    address.port = text.substr(colon + 1);
    text.resize(colon);
  }
  if (text.size() > 1 && text.front() == '[') text = text.substr(1, text.size() - 2);
  address.host = text;
  return address;
}

// One command in RESP and the first line of its reply.
Result<std::string> redis_call(ClientStream& stream, const std::vector<std::string>& words) {
  std::string message = "*" + std::to_string(words.size()) + "\r\n";
  for (const std::string& word : words) message += "$" + std::to_string(word.size()) + "\r\n" + word + "\r\n";
  const auto deadline = Clock::now() + kRedisLimit;
  if (auto sent = stream.write_all(message, deadline); !sent) return tl::unexpected(sent.error());
  std::string reply;
  while (reply.find("\r\n") == std::string::npos) {
    char buffer[512];
    auto got = stream.read_some(buffer, deadline);
    if (!got) return tl::unexpected(got.error());
    if (*got == 0 || reply.size() > kMaxReplyBytes)
      return fail(Errc::protocol, "it is not Redis that answers");
    reply.append(buffer, *got);
  }
  reply.resize(reply.find("\r\n"));
  if (reply.starts_with('-')) return fail(Errc::protocol, reply.substr(1));
  return reply;
}

}  // namespace

RedisFacts probe_redis(const std::string& text) {
  const RedisAddress address = parse_redis(text);
  RedisFacts facts;
  facts.address = address.host + ":" + address.port;  // never the password
  Url url;
  url.host = address.host;
  url.port = address.port;
  auto stream = ClientStream::connect(url, {}, Clock::now() + kRedisLimit);
  if (!stream) {
    facts.error = stream.error().message;
    return facts;
  }
  if (!address.password.empty()) {
    std::vector<std::string> words = {"AUTH", address.password};
    if (!address.user.empty()) words.insert(words.begin() + 1, address.user);
    if (auto in = redis_call(**stream, words); !in) {
      facts.error = in.error().message;
      return facts;
    }
  }
  std::vector<double> times;
  for (int i = 0; i < kPings; ++i) {
    const auto start = Clock::now();
    const auto pong = redis_call(**stream, {"PING"});
    if (!pong || *pong != "+PONG") {
      facts.error = pong ? "it is not Redis that answers" : pong.error().message;
      return facts;
    }
    times.push_back(std::chrono::duration<double, std::milli>(Clock::now() - start).count());
  }
  std::sort(times.begin(), times.end());
  facts.ping_ms = times[times.size() / 2];
  return facts;
}

}  // namespace leadline::deploy
