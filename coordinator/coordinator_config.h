#pragma once
// CoordinatorConfig: every flag of leadline-coordinator, with unit, default and range. Limits of requests are
// in limits.h. Thread: value, constant after start.

#include <cstdint>
#include <string>
#include <vector>

#include "coordinator/errc.h"
#include "coordinator/limits.h"

namespace leadline::coordinator {

struct CoordinatorConfig {
  std::string model_directory;
  std::vector<std::string> served_model_names;  // empty: the directory's name
  std::string host = "127.0.0.1";
  std::uint16_t port = 8000;  // 0 = any free one, printed
  std::string admin_host = "127.0.0.1";
  std::uint16_t admin_port = 9000;  // 0 = any free one, printed
  bool admin = true;
  std::vector<std::string> workers;        // HOST:PORT
  std::vector<std::string> workers_dns;    // NAME:PORT, resolved again and again
  std::string control_secret_file;         // shared with the workers; also keys the tenants' salts
  std::string api_key_file;                // empty = no authentication
  std::string tls_cert, tls_key;           // both or none
  std::string chat_template_file;          // overrides the checkpoint's
  std::uint32_t max_model_len = 0;         // tokens; 0 = the checkpoint's own
  std::string kv_compression = "exact";    // what the workers are given under this name
  std::uint32_t text_threads = 2;          // 1..64: JSON, templates, tokeniser
  std::uint64_t worker_stall_ms = 30'000;  // a worker whose step is older gets nothing new
  bool console = true;                     // the web page at /
  bool log_json = false;
  std::string log_level = "info";
  Limits limits;
};

// configuration: names the flag.
Result<void> check_config(const CoordinatorConfig& config);

bool is_loopback_address(const std::string& host_port);

}  // namespace leadline::coordinator
