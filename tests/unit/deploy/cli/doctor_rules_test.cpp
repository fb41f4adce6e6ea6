#include "deploy/cli/doctor_rules.h"
#include "deploy/cli/worker_metrics_text.h"

#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <set>

namespace leadline::deploy {
namespace {

// A machine and a server in good order.
DoctorFacts good() {
  DoctorFacts f;
  f.cpu = {16, "CPU", true, true, true, true, true};
  f.memory = {std::uint64_t{64} << 30, std::uint64_t{48} << 30, 100, "madvise", std::uint64_t{8} << 30, true};
  f.max_open_files = 65'536;
  f.disk = {"/var/tmp", "", true, 1500, 2000, 1.5, std::uint64_t{100} << 30};
  f.mpi = {"mpirun 4", true, 3, ""};
  f.gpu = {true, {"H100", "H100"}, 22'703, ""};
  f.clock = {"tsc", 2026, true};
  f.ports = {{8000, 1, "api", true}, {9464, 2, "admin", true}};
  f.redis = RedisFacts{"r:6379", "", 0.3};
  f.model = ModelFacts{"/m", "", "", "", "", true, std::uint64_t{16} << 30, "llama", 291};
  f.policy = PolicyFacts{"/m/exit_policy.llp", "", "from 900 rounds", 32, 32};
  f.workers = {WorkerFacts{"a:9000", "", 200, "", "0.1.0", "learned", {}, 0.1},
               WorkerFacts{"b:9000", "", 200, "", "0.1.0", "learned", {}, 0.1}};
  f.server = ServerFacts{"http://h:8000", "", "0.1.0", 200, 2, 2, 120};
  return f;
}

const Finding& find(const std::vector<Finding>& findings, const std::string& check) {
  for (const Finding& f : findings) {
    if (f.check == check) return f;
  }
  ADD_FAILURE() << "no finding " << check;
  return findings.front();
}

TEST(DoctorRulesTest, NothingIsWrongWithAGoodMachine) {
  const auto findings = judge(good());
  for (const Finding& f : findings) EXPECT_EQ(f.status, FindingStatus::ok) << f.check << ": " << f.what;
  EXPECT_TRUE(is_healthy(findings));
}

struct Case {
  const char* name;
  std::function<void(DoctorFacts&)> harm;
  const char* check;
  FindingStatus status;
  const char* part;  // of what, cost or action
};

class DoctorRulesTable : public ::testing::TestWithParam<Case> {};

TEST_P(DoctorRulesTable, OneHarmChangesOneFinding) {
  const Case& c = GetParam();
  DoctorFacts facts = good();
  c.harm(facts);
  const auto findings = judge(facts);
  const Finding& f = find(findings, c.check);
  EXPECT_EQ(f.status, c.status) << f.what;
  EXPECT_NE((f.what + "|" + f.cost + "|" + f.action).find(c.part), std::string::npos)
      << f.what << "|" << f.cost << "|" << f.action;
  if (f.status == FindingStatus::problem || f.status == FindingStatus::advice) {
    EXPECT_FALSE(f.cost.empty());
  }
  if (f.status != FindingStatus::ok) {
    EXPECT_FALSE(f.action.empty());
  }
  EXPECT_EQ(is_healthy(findings), c.status != FindingStatus::problem);
  for (const Finding& other : findings) {
    EXPECT_TRUE(&other == &f || other.status == FindingStatus::ok) << other.check;
  }
}

constexpr auto kAdvice = FindingStatus::advice, kProblem = FindingStatus::problem;
constexpr auto kSkipped = FindingStatus::skipped, kOk = FindingStatus::ok;
using F = DoctorFacts;
const Case kCases[] = {
    {"NoAvx2", [](F& f) { f.cpu.avx2 = f.cpu.avx512 = false; }, "cpu", kAdvice, "scalar"},
    {"NoAvx512", [](F& f) { f.cpu.avx512 = false; }, "cpu", kAdvice, "prefill"},
    {"TooLittleMemory", [](F& f) { f.memory.available_bytes = 1 << 30; }, "memory.size", kProblem, "weights"},
    {"LittleMemory", [](F& f) { f.memory.available_bytes = std::uint64_t{18} << 30; }, "memory.size", kAdvice,
     "--max-seqs"},
    {"SlowMemory", [](F& f) { f.memory.read_gb_per_s = 8; }, "memory.bandwidth", kAdvice, "0.5 tokens/s"},
    {"NoBandwidth", [](F& f) { f.memory.read_gb_per_s = 0; }, "memory.bandwidth", kSkipped, "not measured"},
    {"NoHugePages", [](F& f) { f.memory.huge_pages = "never"; }, "memory.huge_pages", kAdvice, "TLB"},
    {"UnknownHugePages", [](F& f) { f.memory.huge_pages = ""; }, "memory.huge_pages", kSkipped, "kernel"},
    {"DockersShm", [](F& f) { f.memory.shm_free_bytes = 64 << 20; }, "shm", kProblem, "--shm-size"},
    {"NoShm", [](F& f) { f.memory.shm_writable = false; }, "shm", kProblem, "tmpfs"},
    {"FewFiles", [](F& f) { f.max_open_files = 1024; }, "open_files", kAdvice, "ulimit"},
    {"ReadOnlyDisk", [](F& f) { f.disk.error = "Read-only file system"; }, "disk", kProblem, "--cache-dir"},
    {"FullDisk", [](F& f) { f.disk.free_bytes = 1000; }, "disk", kAdvice, "no room"},
    {"Overlay", [](F& f) { f.disk.direct = false; }, "disk", kAdvice, "O_DIRECT"},
    {"SlowFsync", [](F& f) { f.disk.fsync_ms = 50; }, "disk", kAdvice, "NVMe"},
    {"SlowDisk", [](F& f) { f.disk.write_mb_per_s = 90; }, "disk", kAdvice, "NVMe"},
    {"NoMpi", [](F& f) { f.mpi = {}; }, "mpi", kProblem, "openmpi-bin"},
    {"NoHello", [](F& f) { f.mpi.hello = false, f.mpi.error = "exit status 1"; }, "mpi", kProblem,
     "exit status 1"},
    {"SlowMpi", [](F& f) { f.mpi.allreduce_us = 9000; }, "mpi", kAdvice, "fewer ranks"},
    {"NoGpu", [](F& f) { f.gpu = {}; }, "gpu", kOk, "CPU"},
    {"SilentGpu", [](F& f) { f.gpu.devices.clear(), f.gpu.error = "no answer"; }, "gpu", kProblem,
     "no answer"},
    {"NoNccl", [](F& f) { f.gpu.nccl_version.reset(); }, "gpu", kProblem, "libnccl2"},
    {"Nccl", [](F&) {}, "gpu", kOk, "NCCL 2.27.3"},
    {"OneGpuNeedsNoNccl", [](F& f) { f.gpu.devices.pop_back(), f.gpu.nccl_version.reset(); }, "gpu", kOk,
     "1 GPU"},
    {"OldDate", [](F& f) { f.clock.year = 1970; }, "clock", kProblem, "1970"},
    {"SlowClock", [](F& f) { f.clock.source = "hpet"; }, "clock", kAdvice, "hpet"},
    {"UnsyncedClock", [](F& f) { f.clock.synchronized = false; }, "clock", kAdvice, "chrony"},
    {"PortTaken", [](F& f) { f.ports[0].free = false; }, "port.api", kAdvice, "port 8000 is taken"},
    {"AdminPortTaken", [](F& f) { f.ports[1].free = false; }, "port.admin", kAdvice, "9464 to 9465"},
    {"NoRedisAsked", [](F& f) { f.redis.reset(); }, "redis", kSkipped, "--redis"},
    {"RedisDown", [](F& f) { f.redis->error = "connection refused"; }, "redis", kProblem, "refused"},
    {"FarRedis", [](F& f) { f.redis->ping_ms = 30; }, "redis", kAdvice, "same zone"},
    {"NoTokenizer", [](F& f) { f.model->tokenizer_error = "tokenizer.json: none"; }, "model.tokenizer",
     kProblem, "again"},
    {"MissingTensor", [](F& f) { f.model->weights_error = "lm_head.weight is missing"; }, "model.weights",
     kProblem, "lm_head"},
    {"NoTemplate", [](F& f) { f.model->has_template = false; }, "model.chat_template", kAdvice, "400"},
    {"BadTemplate", [](F& f) { f.model->template_error = "line 3"; }, "model.chat_template", kProblem,
     "line 3"},
    {"NoServerAsked", [](F& f) { f.server.reset(); }, "server", kSkipped, "--url"},
    {"ServerDown", [](F& f) { f.server->error = "connection refused"; }, "server", kProblem, "refused"},
    {"NotReady", [](F& f) { f.server->readyz = 503; }, "server", kProblem, "503"},
    {"ReadyzNotAsked", [](F& f) { f.server->readyz.reset(); }, "server", kOk, "120 ms"},
    {"AWorkerIsMissing", [](F& f) { f.server->ready_workers = 1; }, "server", kAdvice, "1 of 2"},
    {"NoPolicy", [](F& f) { f.policy->path = ""; }, "policy", kSkipped, "nobody drafts"},
    {"BrokenPolicy", [](F& f) { f.policy->error = "p: checksum"; }, "policy", kProblem, "checksum"},
    {"AnothersPolicy", [](F& f) { f.policy->layers = 16; }, "policy", kProblem, "the model has 32"},
    {"NoWorkersAsked", [](F& f) { f.workers.reset(); }, "workers", kSkipped, "--worker"},
    {"NobodyBehindTheName", [](F& f) { f.workers->clear(); }, "workers", kProblem, "0 of 0"},
    {"WorkerSilent", [](F& f) { (*f.workers)[1].error = "refused"; }, "workers", kProblem, "b:9000: refused"},
    {"WorkerLoads", [](F& f) { (*f.workers)[1].readyz = 503; }, "workers", kProblem, "1 of 2"},
    {"WorkerStuck", [](F& f) { (*f.workers)[0].step_age_s = 45; }, "workers", kProblem, "runs for 45 s"},
    {"WorkersDiffer", [](F& f) { (*f.workers)[0].version = "0.2.0"; }, "workers", kAdvice, "0.1.0; 0.2.0"},
    {"PoliciesDiffer", [](F& f) { (*f.workers)[0].policy = "off"; }, "workers", kAdvice, "learned; off"},
    {"TierDown", [](F& f) { (*f.workers)[0].tiers = {"redis down"}; }, "workers", kAdvice,
     "a:9000: KV tier redis down"},
    {"SlowServer", [](F& f) { f.server->first_token_ms = 9000; }, "server", kAdvice, "9000 ms"},
};
INSTANTIATE_TEST_SUITE_P(All, DoctorRulesTable, ::testing::ValuesIn(kCases),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(DoctorRulesTest, ABrokenConfigHidesTheWeights) {
  DoctorFacts facts = good();
  facts.model->config_error = "config.json: hidden_size is missing";
  facts.model->weight_bytes = 0;
  const auto findings = judge(facts);
  EXPECT_EQ(find(findings, "model.config").status, kProblem);
  EXPECT_EQ(find(findings, "model.weights").status, kSkipped);
}

TEST(DoctorRulesTest, EveryCheckOnceInAFixedOrder) {
  const std::vector<std::string> wanted = {"cpu",
                                           "memory.size",
                                           "memory.bandwidth",
                                           "memory.huge_pages",
                                           "shm",
                                           "open_files",
                                           "disk",
                                           "mpi",
                                           "gpu",
                                           "clock",
                                           "port.api",
                                           "port.admin",
                                           "redis",
                                           "model.config",
                                           "model.weights",
                                           "model.tokenizer",
                                           "model.chat_template",
                                           "policy",
                                           "server",
                                           "workers"};
  for (DoctorFacts facts : {good(), [] {
                              DoctorFacts f = good();
                              f.model.reset();
                              f.policy.reset();
                              f.workers.reset();
                              f.redis.reset();
                              f.server.reset();
                              return f;
                            }()}) {
    std::vector<std::string> names;
    for (const Finding& f : judge(facts)) names.push_back(f.check);
    EXPECT_EQ(names, wanted);
  }
}

TEST(DoctorProbesTest, AWorkersMetricsTellVersionTiersAndStep) {
  WorkerFacts facts;
  read_worker_metrics(
      "# HELP leadline_build_info "
      "x\nleadline_build_info{compiler=\"g\",component=\"worker\",version=\"0.1.0\"} 1\n"
      "leadline_kv_tier_state{state=\"ok\",tier=\"disk\"} "
      "1\nleadline_kv_tier_state{state=\"down\",tier=\"disk\"} 0\n"
      "leadline_kv_tier_state{state=\"down\",tier=\"redis\"} 1\nnonsense\n\nleadline_step_age_seconds 2.5",
      facts);
  EXPECT_EQ(facts.version, "0.1.0");
  EXPECT_EQ(facts.tiers, std::vector<std::string>{"redis down"});
  EXPECT_EQ(facts.step_age_s, 2.5);
  read_worker_metrics("leadline_kv_tier_state{state=\"down 1\nleadline_build_info{version= 1\n{",
                      facts);  // torn
}

TEST(DoctorRulesTest, JsonSchema) {
  DoctorFacts facts = good();
  facts.redis->error = "down \xff";  // not UTF-8: replaced, never a crash
  const auto document = nlohmann::json::parse(to_json(judge(facts)));
  EXPECT_EQ(document["schema"], 1);
  EXPECT_EQ(document["healthy"], false);
  EXPECT_TRUE(document["version"].is_string());
  const std::set<std::string> statuses = {"ok", "advice", "problem", "skipped"};
  for (const auto& finding : document["findings"]) {
    EXPECT_EQ(finding.size(), 5U);
    for (const char* field : {"check", "what", "cost", "action"}) EXPECT_TRUE(finding[field].is_string());
    EXPECT_TRUE(statuses.contains(finding["status"].get<std::string>()));
  }
}

}  // namespace
}  // namespace leadline::deploy
