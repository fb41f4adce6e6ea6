#include "deploy/cli/doctor.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>

#include "deploy/cli/doctor_probes.h"
#include "deploy/cli/doctor_rules.h"
#include "deploy/cli/port_picker.h"

namespace leadline::deploy {
namespace {

DoctorFacts probe(const DoctorOptions& o) {
  DoctorFacts facts;
  const auto step = [&o](const char* what) {
    if (!o.json) std::fprintf(stderr, "leadline: looking at %s\n", what);
  };
  step("this machine");
  facts.cpu = probe_cpu();
  facts.memory = probe_memory();
  facts.max_open_files = probe_open_files();
  facts.clock = probe_clock();
  step("the disk");
  facts.disk = probe_disk(o.cache_directory);
  step("MPI and GPUs");
  facts.mpi = probe_mpi();
  facts.gpu = probe_gpu();
  if (!o.check_server) {  // a running server has its ports
    facts.ports.push_back({o.port, 1, "api", ports_are_free(o.host, o.port, 1)});
    facts.ports.push_back(
        {o.admin_port, 1 + o.workers, "admin", ports_are_free(o.host, o.admin_port, 1 + o.workers)});
  }
  if (!o.redis.empty()) facts.redis = probe_redis(o.redis);
  if (!o.model.empty()) {
    step("the model");
    facts.model = probe_model(o.model, o.chat_template);
  }
  if (!o.policy.empty() || !o.model.empty()) facts.policy = probe_policy(o.policy, o.model);
  if (o.check_server) {
    step("the server");
    facts.server = probe_server(o.server, o.admin_url);
  }
  if (!o.worker_ports.empty()) {
    step("the workers");
    facts.workers = probe_workers(o.worker_ports);
  }
  return facts;
}

void print(const std::vector<Finding>& findings) {
  int problems = 0, advices = 0;
  for (const Finding& f : findings) {
    problems += f.status == FindingStatus::problem ? 1 : 0;
    advices += f.status == FindingStatus::advice ? 1 : 0;
    std::printf("%-8s %-20s %s\n", status_name(f.status), f.check.c_str(), f.what.c_str());
    if (!f.cost.empty()) std::printf("%-8s %-20s   costs: %s\n", "", "", f.cost.c_str());
    if (!f.action.empty()) std::printf("%-8s %-20s   do:    %s\n", "", "", f.action.c_str());
  }
  std::printf("%d problem(s), %d piece(s) of advice\n", problems, advices);
}

}  // namespace

void add_doctor_flags(CLI::App& command, DoctorOptions& o) {
  const char* home = std::getenv("LEADLINE_HOME");  // the script ./leadline sets it
  if (home != nullptr) o.model = std::string(home) + "/models/reference";
  o.cache_directory = "/var/tmp";
  command.option_defaults()->always_capture_default();
  add_server_flags(command, o.server);
  command.add_option("--admin-url", o.admin_url, "URL of its metrics and health port, for /readyz");
  command.add_option("--redis", o.redis, "HOST:PORT or redis://:PASSWORD@HOST:PORT to check");
  command.add_option("--model-dir", o.model, "Checkpoint directory to check");
  command.add_option("--policy", o.policy,
                     "Exit policy file to check; default: exit_policy.* beside the model");
  command.add_option("--worker", o.worker_ports,
                     "HOST:PORT of a worker's admin port to check; all addresses of a name");
  command.add_option("--chat-template", o.chat_template, "Jinja file in place of the model's own");
  command.add_option("--cache-dir", o.cache_directory,
                     "Folder of a disk cache; 64 MB are written and removed");
  command.add_option("--host", o.host, "Address whose ports are checked");
  command.add_option("--port", o.port, "Port of the API")->check(CLI::Range(1, 65535));
  command.add_option("--admin-port", o.admin_port, "First of the ports of metrics and health")
      ->check(CLI::Range(1, 65000));
  command.add_option("--workers", o.workers, "Workers that `up` will start")->check(CLI::Range(1, 32));
  command.add_flag("--json", o.json, "Findings as JSON on standard output");
  command.callback([&command, &o] { o.check_server = command.count("--url") > 0; });
}

int run_doctor(const DoctorOptions& options) {
  const std::vector<Finding> findings = judge(probe(options));
  if (options.json) {
    std::printf("%s\n", to_json(findings).c_str());
  } else {
    print(findings);
  }
  return is_healthy(findings) ? 0 : 1;
}

}  // namespace leadline::deploy
