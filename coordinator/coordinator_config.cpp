#include "coordinator/coordinator_config.h"

namespace leadline::coordinator {

namespace {

bool has_port(const std::string& address) {
  const std::size_t colon = address.rfind(':');
  if (colon == std::string::npos || colon + 1 == address.size() || colon == 0) return false;
  const std::string port = address.substr(colon + 1);
  if (port.size() > 5 || port.find_first_not_of("0123456789") != std::string::npos) return false;
  const int value = std::stoi(port);
  return value >= 1 && value <= 65'535;
}

}  // namespace

bool is_loopback_address(const std::string& host_port) {
  std::string host = host_port.substr(0, host_port.rfind(':'));
  if (host.size() > 1 && host.front() == '[') host = host.substr(1, host.size() - 2);
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

Result<void> check_config(const CoordinatorConfig& config) {
  if (config.model_directory.empty()) return fail(Errc::configuration, "--model is required");
  if (config.workers.empty() && config.workers_dns.empty()) {
    return fail(Errc::configuration, "give at least one --worker HOST:PORT or --workers-dns NAME:PORT");
  }
  for (const auto* list : {&config.workers, &config.workers_dns}) {
    for (const std::string& address : *list) {
      if (!has_port(address)) return fail(Errc::configuration, "'" + address + "' is not HOST:PORT");
      if (config.control_secret_file.empty() && !is_loopback_address(address)) {
        return fail(Errc::configuration,
                    "worker '" + address + "' is not on this machine: --control-secret-file is required");
      }
    }
  }
  if (config.tls_cert.empty() != config.tls_key.empty()) {
    return fail(Errc::configuration, "--tls-cert and --tls-key go together");
  }
  if (config.text_threads < 1 || config.text_threads > 64) {
    return fail(Errc::configuration,
                "--text-threads must be in [1, 64], not " + std::to_string(config.text_threads));
  }
  return {};
}

}  // namespace leadline::coordinator
