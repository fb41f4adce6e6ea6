#include "deploy/cli/up_options.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

namespace leadline::deploy {

std::string default_kv_directory() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && *cache == '/')
    return std::string(cache) + "/leadline/kv";
  const char* home = std::getenv("HOME");
  return home != nullptr && *home == '/' ? std::string(home) + "/.cache/leadline/kv" : std::string();
}

namespace {

constexpr int kMaxWorkers = 32, kMaxRanks = 64, kMaxPort = 65535;

std::string default_model() {
  const char* home = std::getenv("LEADLINE_HOME");  // the script ./leadline sets it
  return (std::filesystem::path(home != nullptr ? home : ".") / "models/reference")
      .lexically_normal()
      .string();
}

// A password in a URL is not printed.
std::string without_password(const std::string& url) {
  const std::size_t at = url.rfind('@'), scheme = url.find("://");
  if (at == std::string::npos || scheme == std::string::npos) return url;
  const std::size_t colon = url.find(':', scheme + 3);
  return colon < at ? url.substr(0, colon + 1) + "***" + url.substr(at) : url;
}

void add_store_flags(CLI::App& command, UpOptions& o) {
  command
      .add_option("--kv-codec", o.kv_codec,
                  "KV blocks in tiers: none or lossless; int8 and int4 quantise pages, too")
      ->check(CLI::IsMember({"none", "lossless", "int8", "int4"}));
  if (o.kv_disk.empty()) o.kv_disk = default_kv_directory();
  command
      .add_option("--kv-memory", o.kv_memory_bytes, "Host memory per worker for KV blocks (MiB, GiB); 0: off")
      ->transform(CLI::AsSizeValue(false));
  command.add_option("--kv-disk", o.kv_disk, "Directory of KV blocks; servers may share it");
  command.add_option("--kv-disk-bytes", o.kv_disk_bytes, "What the directory may cost (MiB, GiB); 0: off")
      ->transform(CLI::AsSizeValue(false));
  command.add_option(
      "--kv-redis", o.kv_redis,
      "Redis for KV blocks shared by machines: redis[s]://[user:pass@]host:port[/db]; @FILE reads "
      "it from there");
  command.add_option("--kv-access-log", o.kv_access_log,
                     "File, or directory (one log per worker): what the store is asked for, for `leadline kv "
                     "replay` and `train`");
  command.add_option("--kv-ranker", o.kv_ranker,
                     "File of `leadline kv train`: says which blocks leave memory and disk");
  command
      .add_option("--kv-ranker-mode", o.kv_ranker_mode,
                  "shadow: it is asked, compared and counted, not obeyed; obey")
      ->check(CLI::IsMember({"shadow", "obey"}));
}

void add_speculation_flags(CLI::App& command, UpOptions& o) {
  command.add_option("--speculation", o.speculation,
                     "Who drafts: auto, off, static:E,K (K drafts from layer E), threshold:E,K,T, "
                     "del, file:PATH");
  command
      .add_option("--draft-ranks", o.draft_ranks,
                  "1: rank 0 drafts alone, without collectives; 0: all ranks draft")
      ->check(CLI::Range(0, 1));
  command.add_option("--exits", o.exits,
                     "Layers where drafts may leave, as 2,4,6; default: the policy file's, else the model's "
                     "shallow half");
  command.add_flag("--speculation-guard,!--no-speculation-guard", o.guard,
                   "Stop drafting where it loses time, and try again later");
  command.add_option("--experience", o.experience,
                     "Directory for logs of exit decisions, for `leadline policy train`; one below it per "
                     "worker where there are several");
  command.add_option("--explore", o.explore, "Share of logged decisions drawn for exploration")
      ->check(CLI::Range(0.0, 1.0));
}

std::string or_words(std::int64_t value, std::string_view words) {
  return value == 0 ? std::string(words) : std::to_string(value);
}

void append(std::vector<std::string>& command, std::string_view flag, const std::string& value) {
  if (value.empty()) return;
  command.emplace_back(flag);
  command.push_back(value);
}

void append_number(std::vector<std::string>& command, std::string_view flag, std::int64_t value) {
  if (value != 0) append(command, flag, std::to_string(value));
}

std::string share(double of_one) {
  char text[16];
  std::snprintf(text, sizeof text, "%.3g", of_one);
  return text;
}

}  // namespace

void add_up_flags(CLI::App& command, UpOptions& o) {
  if (o.model.empty()) o.model = default_model();
  command.option_defaults()->always_capture_default();
  const auto one_of = [](std::vector<std::string> values) { return CLI::IsMember(std::move(values)); };
  command.add_option("--model", o.model, "Hugging Face checkpoint directory")->check(CLI::ExistingDirectory);
  command.add_option("--served-model-name", o.served_model_name,
                     "Name in the API; default: the directory's name");
  command.add_option("--ranks", o.ranks, "Tensor-parallel ranks of each worker")
      ->check(CLI::Range(1, kMaxRanks));
  command.add_option("--workers", o.workers, "Workers (replicas of the model)")
      ->check(CLI::Range(1, kMaxWorkers));
  command.add_option("--host", o.host, "Address of the API");
  command.add_option("--port", o.port, "Port of the API; 0: a free one")->check(CLI::Range(0, kMaxPort));
  command
      .add_option("--admin-port", o.admin_port, "Metrics and health; worker w: this + 1 + w; 0: free ones")
      ->check(CLI::Range(0, kMaxPort - kMaxWorkers - 1));
  command.add_option("--weights", o.weights, "Weight format; auto: the checkpoint's")
      ->check(one_of({"auto", "f32", "bf16", "f16", "int8", "fp8", "int4"}));
  command.add_option("--weight-cache", o.weight_cache,
                     "Packed weights kept for the next start: auto (beside the model, or in the user's cache "
                     "folder), off, or a directory");
  command.add_option("--kv-dtype", o.kv_dtype, "KV pages' format; fp8 on GPUs")
      ->check(one_of({"auto", "f32", "bf16", "f16", "int8", "fp8"}));
  command
      .add_option("--kv-pool", o.kv_pool_bytes,
                  "Bytes of KV pages per rank (512MiB, 2GiB, ...); 0: automatic")
      ->transform(CLI::AsSizeValue(false));
  command.add_option("--kv-compression", o.kv_compression,
                     "KV compression of requests that name none: exact, semanticache, snapkv, ...");
  command
      .add_option("--kv-compression-budget", o.kv_compression_budget,
                  "Share of the KV slots that it keeps, where the request gives none")
      ->check(CLI::Range(0.01, 1.0));
  command.add_option("--max-model-len", o.max_model_len, "Tokens of prompt and answer; 0: the model's own")
      ->check(CLI::Range(0, 1 << 24));
  command.add_option("--max-seqs", o.max_seqs, "Sequences running at once per worker")
      ->check(CLI::Range(1, 1024));
  command.add_option("--step-tokens", o.step_tokens, "Rows of one step; 0: chosen for the device")
      ->check(CLI::Range(0, 8192));
  add_speculation_flags(command, o);
  add_store_flags(command, o);
  command.add_option("--threads", o.threads, "Threads per rank; 0: cores divided by ranks")
      ->check(CLI::Range(0, 1024));
  command.add_option("--device", o.device, "Where the model runs")->check(one_of({"auto", "cpu", "cuda"}));
  command
      .add_option("--gpu-memory-utilization", o.gpu_memory_utilization, "Share of a GPU's free memory to use")
      ->check(CLI::Range(0.05, 1.0));
  command.add_flag("--graphs,!--no-graphs", o.graphs, "GPU: record decode steps and replay them");
  command.add_flag("--poison", o.poison, "GPU: fill every output with NaN first, to find faults; slow");
  command.add_option("--api-key-file", o.api_key_file, "API keys, one a line; default: no keys asked for")
      ->check(CLI::ExistingFile);
  command.add_option("--tls-cert", o.tls_cert, "Certificate chain (PEM) of the API")
      ->check(CLI::ExistingFile);
  command.add_option("--tls-key", o.tls_key, "Its private key (PEM)")->check(CLI::ExistingFile);
  command.add_option("--chat-template", o.chat_template, "Jinja file in place of the model's own")
      ->check(CLI::ExistingFile);
  command.add_option("--stall-limit-ms", o.stall_limit_ms, "A rank silent for longer within a step is lost")
      ->check(CLI::Range(std::int64_t{100}, std::int64_t{3'600'000}));
  command.add_flag("--no-console", o.no_console, "No web page at /");
  command.add_flag("--log-json", o.log_json, "Log lines as JSON");
  command.callback([&command, &o] {
    o.port_given = command.count("--port") > 0;
    o.admin_port_given = command.count("--admin-port") > 0;
  });
}

std::string find_conflict(const UpOptions& o) {
  if (o.tls_cert.empty() != o.tls_key.empty()) return "--tls-cert and --tls-key come together";
  if (o.host.empty()) return "--host is empty";
  if (o.explore > 0 && o.experience.empty())
    return "--explore " + share(o.explore) + ": without --experience nothing is logged";
  const bool bounded_tier = o.kv_memory_bytes > 0 || (!o.kv_disk.empty() && o.kv_disk_bytes > 0);
  if (!o.kv_access_log.empty()) {
    if (!bounded_tier && o.kv_redis.empty()) return "--kv-access-log " + o.kv_access_log + ": no tier is on";
    if (o.workers > 1 && !o.kv_access_log.ends_with('/') && !std::filesystem::is_directory(o.kv_access_log))
      return "--kv-access-log " + o.kv_access_log + " is one file: several workers need a directory";
  }
  if (!o.kv_ranker.empty() && !bounded_tier)
    return "--kv-ranker " + o.kv_ranker + ": neither memory nor disk is on";
  const int last_admin = o.admin_port + o.workers;
  if (o.port != 0 && o.admin_port != 0 && o.port >= o.admin_port && o.port <= last_admin) {
    return "--port " + std::to_string(o.port) + " is one of the admin ports " + std::to_string(o.admin_port) +
           " to " + std::to_string(last_admin);
  }
  return {};
}

std::string describe(const UpOptions& o) {
  const std::pair<std::string_view, std::string> rows[] = {
      {"model", o.model},
      {"served-model-name", o.served_model_name.empty() ? "(the directory's name)" : o.served_model_name},
      {"ranks", std::to_string(o.ranks)},
      {"workers", std::to_string(o.workers)},
      {"host", o.host},
      {"port", or_words(o.port, "(a free one)")},
      {"admin-port", or_words(o.admin_port, "(a free block)")},
      {"weights", o.weights},
      {"weight-cache", o.weight_cache},
      {"kv-dtype", o.kv_dtype},
      {"kv-compression", o.kv_compression},
      {"kv-codec", o.kv_codec},
      {"kv-pool", or_words(o.kv_pool_bytes, "(automatic)")},
      {"max-model-len", or_words(o.max_model_len, "(the model's own)")},
      {"max-seqs", std::to_string(o.max_seqs)},
      {"step-tokens", or_words(o.step_tokens, "(chosen for the device)")},
      {"speculation", o.speculation},
      {"draft-ranks", std::to_string(o.draft_ranks)},
      {"exits", o.exits.empty() ? "(the policy's)" : o.exits},
      {"experience", o.experience.empty() ? "(off)" : o.experience + ", explore " + share(o.explore)},
      {"kv-memory", or_words(o.kv_memory_bytes, "(off)")},
      {"kv-disk", o.kv_disk.empty() || o.kv_disk_bytes == 0 ? "(off)" : o.kv_disk},
      {"kv-disk-bytes", or_words(o.kv_disk_bytes, "(off)")},
      {"kv-redis", o.kv_redis.empty() ? "(off)" : without_password(o.kv_redis)},
      {"kv-access-log", o.kv_access_log.empty() ? "(off)" : o.kv_access_log},
      {"kv-ranker", o.kv_ranker.empty() ? "(off)" : o.kv_ranker + " (" + o.kv_ranker_mode + ")"},
      {"threads", or_words(o.threads, "(cores divided by ranks)")},
      {"device", o.device},
      {"gpu-memory", share(o.gpu_memory_utilization)},
      {"graphs", o.graphs ? "(on, on a GPU)" : "off"},
      {"api-key-file", o.api_key_file.empty() ? "(no keys asked for)" : o.api_key_file},
      {"tls", o.tls_cert.empty() ? "(off)" : o.tls_cert},
      {"chat-template", o.chat_template.empty() ? "(the model's own)" : o.chat_template},
      {"stall-limit-ms", std::to_string(o.stall_limit_ms)},
  };
  std::string text;
  for (const auto& [name, value] : rows) {
    text += "  " + std::string(name) + std::string(20 - name.size(), ' ') + value + "\n";
  }
  return text;
}

int worker_admin_port(const UpPlan& plan, int worker) {
  return plan.admin_port + 1 + worker;
}

std::vector<std::string> coordinator_command(const UpOptions& o, const UpPlan& plan) {
  std::vector<std::string> command = {plan.program_directory + "/leadline-coordinator"};
  append(command, "--model", o.model);
  append(command, "--served-model-name", o.served_model_name);
  append(command, "--host", o.host);
  append(command, "--port", std::to_string(plan.port));
  append(command, "--admin-port", std::to_string(plan.admin_port));
  for (const int port : plan.worker_ports) append(command, "--worker", "127.0.0.1:" + std::to_string(port));
  append(command, "--control-secret-file", plan.secret_file);
  append(command, "--api-key-file", o.api_key_file);
  append(command, "--tls-cert", o.tls_cert);
  append(command, "--tls-key", o.tls_key);
  append(command, "--chat-template", o.chat_template);
  append(command, "--kv-compression", o.kv_compression);
  append_number(command, "--max-model-len", o.max_model_len);
  if (o.no_console) command.emplace_back("--no-console");
  if (o.log_json) command.emplace_back("--log-json");
  return command;
}

std::vector<std::string> worker_command(const UpOptions& o, const UpPlan& plan, int worker) {
  std::vector<std::string> command;
  if (o.ranks > 1) {
    // Binding is the kernel pool's business; more ranks than cores are allowed; on SIGTERM ranks have 10 s
    // before SIGKILL.
    command = {"mpirun", "-n", std::to_string(o.ranks), "--bind-to", "none", "--oversubscribe"};
    // Ranks are mpirun's children, not ours: this makes them end with mpirun even when it is killed.
    command.push_back(plan.program_directory + "/leadline");
    command.emplace_back("run-rank");
  }
  command.push_back(plan.program_directory + "/leadline-worker");
  append(command, "--model", o.model);
  append(command, "--served-model-name", o.served_model_name);
  append(command, "--listen",
         "127.0.0.1:" + std::to_string(plan.worker_ports[static_cast<std::size_t>(worker)]));
  append(command, "--admin-host", "127.0.0.1");
  append(command, "--admin-port", std::to_string(worker_admin_port(plan, worker)));
  append(command, "--control-secret-file", plan.secret_file);
  append(command, "--weights", o.weights);
  append(command, "--kv-dtype", o.kv_dtype);
  append(command, "--weight-cache", o.weight_cache);
  append(command, "--kv-compression", o.kv_compression);
  append(command, "--kv-compression-budget", std::to_string(o.kv_compression_budget));
  append(command, "--kv-codec", o.kv_codec);
  append_number(command, "--kv-pool", o.kv_pool_bytes);
  append_number(command, "--max-model-len", o.max_model_len);
  append(command, "--max-seqs", std::to_string(o.max_seqs));
  append_number(command, "--step-tokens", o.step_tokens);
  append(command, "--speculation", o.speculation);
  append_number(command, "--draft-ranks", o.draft_ranks);
  append(command, "--exits", o.exits);
  if (!o.guard) command.emplace_back("--no-speculation-guard");
  if (!o.experience.empty()) {
    append(command, "--experience",
           o.workers > 1 ? o.experience + "/" + std::to_string(worker) : o.experience);
    append(command, "--explore", share(o.explore));
  }
  append_number(command, "--kv-memory", o.kv_memory_bytes);
  if (o.kv_disk_bytes > 0) {
    append(command, "--kv-disk", o.kv_disk);
    append_number(command, "--kv-disk-bytes", o.kv_disk_bytes);
  }
  append(command, "--kv-redis", o.kv_redis);
  append(command, "--kv-access-log", o.kv_access_log);
  if (!o.kv_ranker.empty()) {
    append(command, "--kv-ranker", o.kv_ranker);
    append(command, "--kv-ranker-mode", o.kv_ranker_mode);
  }
  append_number(command, "--threads", o.threads);
  append(command, "--device", o.device);
  if (o.device != "cpu") append(command, "--gpu-memory-utilization", share(o.gpu_memory_utilization));
  if (!o.graphs) command.emplace_back("--no-graphs");
  if (o.poison) command.emplace_back("--poison");
  append(command, "--worker-index", std::to_string(worker));
  append(command, "--stall-limit-ms", std::to_string(o.stall_limit_ms));
  if (o.log_json) command.emplace_back("--log-json");
  return command;
}

}  // namespace leadline::deploy
