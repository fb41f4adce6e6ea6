#pragma once
// doctor: `leadline doctor`: probes, judges, prints. Not the judgement itself (doctor_rules). Thread: main.

#include <string>
#include <vector>

#include "deploy/cli/api_client.h"

namespace CLI {
class App;
}

namespace leadline::deploy {

struct DoctorOptions {
  ServerOptions server;
  bool check_server = false;  // --url was given
  std::string admin_url, redis, model, chat_template, cache_directory, policy;
  std::vector<std::string> worker_ports;
  std::string host = "127.0.0.1";
  int port = 8000, admin_port = 9464, workers = 1;
  bool json = false;
};

void add_doctor_flags(CLI::App& command, DoctorOptions& options);
// Exit status: 0, or 1 when something found is a problem.
int run_doctor(const DoctorOptions& options);

}  // namespace leadline::deploy
