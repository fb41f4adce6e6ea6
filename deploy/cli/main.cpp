// leadline: the command for people. Flags -> one of the commands; nothing else.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string_view>

#include "deploy/cli/bench_serve.h"
#include "deploy/cli/chat.h"
#include "deploy/cli/child_process.h"
#include "deploy/cli/doctor.h"
#include "deploy/cli/doctor_probes.h"
#include "deploy/cli/engine_bench.h"
#include "deploy/cli/kv_command.h"
#include "deploy/cli/policy_command.h"
#include "deploy/cli/supervisor.h"
#include "monitoring/process_metrics.h"

namespace {

// `run-rank PROGRAM ARGS…`: what mpirun starts for `up` (see worker_command); not for people.
int run_rank(int argc, char** argv) {
  const std::string reason = leadline::deploy::exec_with_parent({argv + 2, argv + argc});
  std::fprintf(stderr, "leadline: %s\n", reason.c_str());
  return 127;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 2 && std::string_view(argv[1]) == "run-rank") return run_rank(argc, argv);
  if (argc > 1 && std::string_view(argv[1]) == "doctor-rank") return leadline::deploy::run_doctor_rank();
  CLI::App app{
      "Leadline serves Llama-family models: a coordinator over HTTP, tensor-parallel workers over MPI."};
  app.set_version_flag("--version", std::string(leadline::monitoring::build_version()));
  app.require_subcommand(1);
  leadline::deploy::UpOptions up;
  leadline::deploy::ChatOptions chat;
  leadline::deploy::BenchOptions bench;
  leadline::deploy::DoctorOptions doctor;
  add_up_flags(*app.add_subcommand("up", "Serve a model on this machine: one coordinator, workers, one URL"),
               up);
  add_chat_flags(*app.add_subcommand("chat", "Talk to a running server"), chat);
  CLI::App* bench_command = app.add_subcommand("bench", "Measure");
  bench_command->require_subcommand(1);
  add_bench_flags(*bench_command->add_subcommand("serve", "Load a running server and report latencies"),
                  bench);
  leadline::deploy::EngineBenchOptions engine;
  CLI::App* engine_command =
      bench_command->add_subcommand("engine", "Measure the engine alone, beside the machine's ceilings");
  add_engine_bench_flags(*engine_command, engine);
  add_doctor_flags(*app.add_subcommand("doctor", "Check this machine, a model, a running server"), doctor);
  CLI::App* policy_command =
      app.add_subcommand("policy", "Exit policies: record, train, judge, look at them");
  const auto run_policy = leadline::deploy::add_policy_command(*policy_command);
  CLI::App* kv_command = app.add_subcommand("kv", "The KV store: access logs and eviction");
  const auto run_kv = leadline::deploy::add_kv_command(*kv_command);
  app.add_subcommand("test", "Build what is missing and run the tests (./leadline test [--full])");
  app.add_subcommand("help", "This text");
  CLI11_PARSE(app, argc, argv);
  if (app.got_subcommand("up")) return run_up(up);
  if (app.got_subcommand("chat")) return run_chat(chat);
  if (engine_command->parsed()) return run_engine_bench(engine);
  if (policy_command->parsed()) return run_policy();
  if (app.got_subcommand("bench")) return run_bench_serve(bench);
  if (app.got_subcommand("doctor")) return run_doctor(doctor);
  if (kv_command->parsed()) return run_kv();
  if (app.got_subcommand("test")) {
    std::fputs("leadline: tests are run by the script at the root of the tree: ./leadline test\n", stderr);
    return 2;
  }
  std::fputs(app.help().c_str(), stdout);
  return 0;
}
