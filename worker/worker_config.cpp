#include "worker/worker_config.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fstream>

namespace leadline::worker {

namespace {

void add_speculation(CLI::App& app, WorkerConfig& c) {
  app.add_option(
      "--speculation", c.speculation,
      "Who drafts: auto (exit_policy.* beside the model), off, static:E,K (K drafts from layer E), "
      "threshold:E,K,T, del, file:PATH");
  app.add_option("--policy-file", c.policy_file,
                 "Policy file that decides instead of --speculation once it is there and fits the model");
  app.add_flag("--speculation-guard,!--no-speculation-guard", c.speculation_guard,
               "Stop drafting where it loses time, and try again later");
  app.add_option("--experience", c.experience_directory, "Directory for the log of exit decisions");
  app.add_option("--explore", c.explore, "Share of logged decisions drawn for exploration")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--exits", c.exits,
                 "Layers where drafts may leave, ascending; default: the policy file's, else the model's "
                 "shallow half")
      ->delimiter(',')
      ->check(CLI::Range(1, 1024));
  app.add_option(
         "--draft-ranks", c.draft_ranks,
         "1: rank 0 drafts alone, with a whole copy of the layers up to the deepest exit; 0: all ranks draft")
      ->check(CLI::Range(0, 1));
  app.add_option("--max-draft-rows", c.max_draft_rows, "Rows of drafts in one step; 0: nobody drafts")
      ->check(CLI::Range(0, 4096));
}

void add_store_flags(CLI::App& app, WorkerConfig& c) {
  app.add_option("--kv-memory", c.kv_memory_bytes, "Bytes of host memory for KV blocks (MiB, GiB); 0: none")
      ->transform(CLI::AsSizeValue(false));
  app.add_option("--kv-disk", c.kv_disk_directory,
                 "Directory of KV blocks, shared by ranks and workers; none: no disk");
  app.add_option("--kv-disk-bytes", c.kv_disk_bytes,
                 "Bytes that the directory may cost (MiB, GiB); 0: no disk")
      ->transform(CLI::AsSizeValue(false));
  app.add_option("--kv-codec", c.kv_codec,
                 "KV blocks in tiers: none, lossless; int8 and int4 quantise pages, too, and change answers")
      ->check(CLI::IsMember({"none", "lossless", "int8", "int4"}));
  app.add_option(
      "--kv-redis", c.kv_redis,
      "redis[s]://[user:pass@]host:port[/db] for blocks shared by hosts; @FILE reads it from there");
  app.add_option(
      "--kv-access-log", c.kv_access_log,
      "File or directory: log what the store is asked for, for `leadline kv replay`; needs a tier");
  app.add_option("--kv-ranker", c.kv_ranker,
                 "File of `leadline kv train`: says which blocks leave memory and disk");
  app.add_option("--kv-ranker-mode", c.kv_ranker_obeyed,
                 "shadow: it is asked, compared and counted, not obeyed; obey")
      ->transform(CLI::CheckedTransformer(std::map<std::string, bool>{{"shadow", false}, {"obey", true}}));
}

constexpr std::size_t kLongestUrl = 4096;  // bytes of a file that holds one

// A password does not belong on a command line: "@FILE" is replaced by the file's first line. "" or what is
// wrong.
std::string read_redis_url(std::string& url) {
  if (!url.starts_with('@')) return {};
  const std::string path = url.substr(1);
  std::ifstream file(path);
  std::string line;
  if (!file || !std::getline(file, line)) return "--kv-redis: cannot read " + path;
  while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
  if (line.empty() || line.size() > kLongestUrl)
    return "--kv-redis: " + path + " does not begin with a line of 1 to " + std::to_string(kLongestUrl) +
           " bytes";
  url = std::move(line);
  return {};
}

void add_formats(CLI::App& app, WorkerConfig& c) {
  app.add_option("--weights", c.weights,
                 "Weight format; auto: the checkpoint's; int8 on CPUs, fp8 on GPUs, int4 on both")
      ->check(CLI::IsMember({"auto", "f32", "bf16", "f16", "int8", "fp8", "int4"}));
  app.add_option(
      "--weight-cache", c.weight_cache,
      "Keep packed weights on disk for the next start: off, auto (beside the model, or in the user's "
      "cache folder), or a directory");
  app.add_option("--kv-dtype", c.kv_dtype, "KV pages' element type; fp8 on GPUs")
      ->check(CLI::IsMember({"auto", "f32", "bf16", "f16", "int8", "fp8"}));
}

void add_compression(CLI::App& app, WorkerConfig& c) {
  app.add_option("--kv-compression", c.kv_compression,
                 "KV compression of requests that name none: exact, or a method");
  app.add_option("--kv-compression-budget", c.kv_compression_budget,
                 "Share of the KV slots that it keeps where the request gives none")
      ->check(CLI::Range(0.01, 1.0));
}

void add_device(CLI::App& app, WorkerConfig& c) {
  app.add_option("--device", c.device, "Where the model runs")->check(CLI::IsMember({"auto", "cpu", "cuda"}));
  app.add_option("--gpu-memory-utilization", c.gpu_memory_utilization,
                 "Share of the GPU's free memory to use")
      ->check(CLI::Range(0.05, 1.0));
  app.add_flag("--rank-invariant,!--no-rank-invariant", c.rank_invariant,
               "GPU: the same bits on 1, 2 and 4 ranks, by slices; off: fewer, larger products");
  app.add_flag("--graphs,!--no-graphs", c.graphs, "GPU: record decode steps and replay them");
  app.add_flag("--poison", c.poison,
               "GPU: fill every output with NaN first, to find what is read but not written; slow");
}

bool has_bounded_tier(const WorkerConfig& c) {
  const bool disk = !c.kv_disk_directory.empty() && c.kv_disk_bytes > 0;
  return c.prefix_cache && (c.kv_memory_bytes > 0 || disk);
}

bool has_tier(const WorkerConfig& c) {
  return has_bounded_tier(c) || (c.prefix_cache && !c.kv_redis.empty());
}

}  // namespace

ParsedFlags parse_worker_flags(int argc, char** argv) {
  ParsedFlags parsed;
  WorkerConfig& c = parsed.config;
  CLI::App app{"One rank of one Leadline worker: a tensor-parallel group that serves one model."};
  app.option_defaults()->always_capture_default();
  app.add_option("--model", c.model_directory, "Hugging Face checkpoint directory")->required();
  app.add_option("--served-model-name", c.served_model_name,
                 "Name in answers; default: the directory's name");
  add_formats(app, c);
  add_device(app, c);
  app.add_option("--max-model-len", c.max_model_len, "Tokens of prompt and answer; 0: the model's own")
      ->check(CLI::Range(0, 1 << 24));
  app.add_option("--max-seqs", c.max_sequences, "Sequences running at once")->check(CLI::Range(1, 1024));
  app.add_option("--step-tokens", c.step_tokens, "Rows of one step; 0: chosen for the device")
      ->check(CLI::Range(0, 8192));
  app.add_option("--kv-pool", c.kv_pool_bytes, "Bytes of KV pages per rank (MiB, GiB); 0: automatic")
      ->transform(CLI::AsSizeValue(false));
  app.add_option("--swap", c.swap_bytes,
                 "Bytes of host memory for preempted sequences per rank; -1: as the pool");
  add_store_flags(app, c);
  app.add_flag("--prefix-cache,!--no-prefix-cache", c.prefix_cache, "Reuse the KV of equal prefixes");
  add_speculation(app, c);
  add_compression(app, c);
  app.add_option("--threads", c.threads, "Kernel threads per rank; 0: cores divided by ranks")
      ->check(CLI::Range(0, 1024));
  app.add_option("--listen", c.listen, "HOST:PORT for coordinators; port 0: a free one");
  app.add_option("--admin-host", c.admin_host, "Address of metrics and health");
  app.add_option("--admin-port", c.admin_port, "Port of metrics and health; 0: a free one, -1: none")
      ->check(CLI::Range(-1, 65535));
  app.add_option("--control-secret-file", c.control_secret_file, "Shared secret; required beyond loopback");
  app.add_option("--worker-index", c.worker_index, "For logs")->check(CLI::Range(0, 1 << 20));
  app.add_option("--rank", c.rank, "This rank of --world, 0 leads; without MPI and without LEADLINE_RANK")
      ->check(CLI::Range(0, 1023));
  app.add_option("--world", c.world,
                 "Ranks of this worker, with --rank and --rendezvous; 0: from the launcher")
      ->check(CLI::Range(0, 1024));
  app.add_option("--rendezvous", c.rendezvous,
                 "HOST:PORT where rank 0 listens and the others find it; beyond loopback with "
                 "LEADLINE_GROUP_TOKEN set");
  app.add_option("--connect-limit-ms", c.connect_limit_ms, "At start: the ranks that did not come are named")
      ->check(CLI::Range(std::int64_t{100}, std::int64_t{3'600'000}));
  app.add_option("--stall-limit-ms", c.stall_limit_ms, "A rank silent for longer is lost")
      ->check(CLI::Range(std::int64_t{100}, std::int64_t{3'600'000}));
  app.add_option("--drain-ms", c.drain_ms, "Time to finish what runs on SIGTERM")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{3'600'000}));
  app.add_option("--inbox", c.inbox_capacity, "Requests between I/O and step")->check(CLI::Range(1, 65536));
  app.add_option("--max-live-requests", c.max_live_requests, "Waiting and running")
      ->check(CLI::Range(1, 1 << 20));
  app.add_flag("--log-json", c.log_json, "Log lines as JSON");
  try {
    app.parse(argc, argv);
    if (std::string wrong = read_redis_url(c.kv_redis); !wrong.empty()) throw CLI::ValidationError(wrong);
    if (!c.kv_access_log.empty() && !has_tier(c))
      throw CLI::ValidationError("--kv-access-log " + c.kv_access_log + ": no tier is on");
    if (!c.kv_ranker.empty() && !has_bounded_tier(c))
      throw CLI::ValidationError("--kv-ranker " + c.kv_ranker + ": neither memory nor disk is on");
    parsed.run = true;
  } catch (const CLI::CallForHelp&) {
    parsed.text = app.help();
  } catch (const CLI::ParseError& error) {
    parsed.exit_code = 2;
    parsed.text = error.what();
  }
  return parsed;
}

}  // namespace leadline::worker
