// leadline-coordinator: flags -> config -> Coordinator -> run -> drain; nothing else.

#include <CLI/CLI.hpp>
#include <cstdio>

#include "coordinator/coordinator.h"
#include "coordinator/http/info_handler.h"
#include "monitoring/log.h"
#include "transport/control/control_secret.h"

namespace {

using namespace leadline;
using namespace leadline::coordinator;

void add_flags(CLI::App& app, CoordinatorConfig& config) {
  app.add_option("--model", config.model_directory, "model directory, as downloaded")->required();
  app.add_option("--served-model-name", config.served_model_names,
                 "name(s) in the API; default: the directory's");
  app.add_option("--host", config.host, "address of the API")->capture_default_str();
  app.add_option("--port", config.port, "port of the API; 0 = any free one")->capture_default_str();
  app.add_option("--admin-host", config.admin_host, "address of metrics and health")->capture_default_str();
  app.add_option("--admin-port", config.admin_port, "port of metrics and health; 0 = any free one")
      ->capture_default_str();
  app.add_option("--worker", config.workers, "HOST:PORT of a worker; repeatable");
  app.add_option("--workers-dns", config.workers_dns, "NAME:PORT; every address of the name is a worker");
  app.add_option("--control-secret-file", config.control_secret_file, "secret shared with the workers");
  app.add_option("--api-key-file", config.api_key_file,
                 "name:key or key per line; without it the API is open");
  app.add_option("--tls-cert", config.tls_cert, "certificate chain, PEM");
  app.add_option("--tls-key", config.tls_key, "private key, PEM");
  app.add_option("--chat-template", config.chat_template_file, "Jinja file that overrides the checkpoint's");
  app.add_option("--kv-compression", config.kv_compression,
                 "what the workers are given under this name: whether chats that ask for nothing have pins");
  app.add_option("--max-model-len", config.max_model_len, "tokens, prompt and answer; 0 = the checkpoint's")
      ->capture_default_str();
  app.add_option("--text-threads", config.text_threads, "threads for JSON, templates and tokeniser")
      ->capture_default_str();
  app.add_option("--worker-stall-ms", config.worker_stall_ms, "a worker whose step is older gets nothing")
      ->capture_default_str();
  app.add_option("--max-waiting", config.limits.waiting_requests, "requests that may wait for a worker")
      ->capture_default_str();
  app.add_option("--queue-timeout-ms", config.limits.queue_timeout_ms, "longest wait for room on a worker")
      ->capture_default_str();
  app.add_option("--no-worker-timeout-ms", config.limits.no_worker_timeout_ms,
                 "longest wait while none is ready")
      ->capture_default_str();
  app.add_option("--max-connections", config.limits.connections, "client connections")->capture_default_str();
  app.add_option("--max-body-bytes", config.limits.body_bytes, "of a request")->capture_default_str();
  app.add_option("--header-timeout-ms", config.limits.header_timeout_ms, "for a whole request head")
      ->capture_default_str();
  app.add_option("--body-timeout-ms", config.limits.body_timeout_ms, "for a whole body")
      ->capture_default_str();
  app.add_option("--keep-alive-ms", config.limits.keep_alive_ms, "comment on a silent stream after this long")
      ->capture_default_str();
  app.add_option("--drain-ms", config.limits.drain_ms, "from SIGTERM until streams are cut")
      ->capture_default_str();
  app.add_flag("!--no-console", config.console, "no web page at /");
  app.add_flag("--log-json", config.log_json, "log lines as JSON");
  app.add_option("--log-level", config.log_level, "debug, info, warn or error")->capture_default_str();
  app.set_version_flag("--version", std::string(kLeadlineVersion));
}

monitoring::LogLevel level_of(const std::string& name) {
  if (name == "debug") return monitoring::LogLevel::debug;
  if (name == "warn") return monitoring::LogLevel::warn;
  if (name == "error") return monitoring::LogLevel::error;
  return monitoring::LogLevel::info;
}

Result<CoordinatorParts> make_parts(const CoordinatorConfig& config) {
  CoordinatorParts parts;
  auto tokenizer = Tokenizer::load(config.model_directory);
  if (!tokenizer) return tl::unexpected(tokenizer.error());
  parts.tokenizer = std::move(*tokenizer);
  auto chat_template = ChatTemplate::load(config.model_directory, config.chat_template_file);
  if (chat_template) {
    parts.chat_template = std::move(*chat_template);
  } else if (chat_template.error().code == Errc::not_found) {
    monitoring::log_warn("no_chat_template", {{"effect", "/v1/chat/completions answers 400"}});
  } else {
    return tl::unexpected(chat_template.error());
  }
  auto secret = transport::read_control_secret(config.control_secret_file);
  if (!secret) return fail(Errc::configuration, secret.error().message);
  FleetOptions options;
  options.workers = config.workers;
  options.workers_dns = config.workers_dns;
  options.step_stall = std::chrono::milliseconds(config.worker_stall_ms);
  options.client.secret = *secret;
  parts.open_fleet = [options](boost::asio::io_context& io, std::function<void()> on_change) {
    return Fleet::open(io, options, std::move(on_change));
  };
  return parts;
}

int complain(const Error& error) {
  std::fprintf(stderr, "leadline-coordinator: %s\n", error.message.c_str());
  return error.code == Errc::configuration ? 2 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  CoordinatorConfig config;
  CLI::App app("Leadline coordinator: an OpenAI-compatible API in front of leadline workers");
  add_flags(app, config);
  CLI11_PARSE(app, argc, argv);
  monitoring::init_log({level_of(config.log_level), config.log_json, "coordinator"});
  if (auto ok = check_config(config); !ok) return complain(ok.error());
  auto parts = make_parts(config);
  if (!parts) return complain(parts.error());
  auto coordinator = Coordinator::open(config, std::move(*parts));
  if (!coordinator) return complain(coordinator.error());
  std::printf("leadline-coordinator listening on %s admin %s\n", (*coordinator)->url().c_str(),
              (*coordinator)->admin_url().c_str());
  std::fflush(stdout);
  (*coordinator)->run();
  return 0;
}
