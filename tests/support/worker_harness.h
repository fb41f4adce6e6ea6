#pragma once
// WorkerHarness: a whole worker in one process for tests: N ranks as threads, real backend, model, cache,
// scheduler and loops; no sockets. Thread: the test's; ranks run on their own threads until stop().

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "worker/runtime/lead_loop.h"

namespace leadline::tests {

struct HarnessOptions {
  std::string model_directory;  // default: models/reference
  int ranks = 1;
  std::string weights = "auto";
  worker::DType kv_dtype = worker::DType::bf16;
  std::string isa;  // "" = the host's best
  std::function<std::unique_ptr<worker::Backend>()>
      make_backend;   // instead of the CPU's; called by each rank
  bool warm = false;  // runs and records what a worker does before it is ready
  std::uint32_t pages = 1024, host_pages = 256;
  std::uint32_t max_sequences = 32, step_tokens = 512, min_chunk_tokens = 64;
  std::uint32_t max_model_len = 2048;
  bool prefix_cache = true;
  // speculation: null = nobody drafts
  std::shared_ptr<const policy::ExitPolicy> policy;
  std::vector<std::int32_t> exits = {2, 4, 6, 8, 10};
  std::uint32_t max_draft_rows = 128;
  bool guarded = false;              // else the policy is asked in every step
  std::string experience_directory;  // "" = no log of decisions
  float explore = 0;
  // the block store: off unless one of these is set
  std::int64_t kv_memory_bytes = 0, kv_disk_bytes = std::int64_t{1} << 30;
  std::string kv_disk_directory, kv_redis;
  int draft_ranks = 0;  // 1: rank 0 drafts alone
  // Around every rank's communicator; empty: none.
  std::function<std::unique_ptr<transport::Communicator>(std::unique_ptr<transport::Communicator>)> wrap;
  bool compression = false;
  std::function<void(const worker::CompressOutcome&)> on_compressed;
  std::string kv_codec = "none";
};

struct Answer {
  std::vector<transport::SampledToken> tokens;
  transport::Finish finish;
};

class WorkerHarness {
 public:
  explicit WorkerHarness(HarnessOptions options);
  ~WorkerHarness();  // drains and joins

  // Submits all at once; waits for every Finish.
  std::vector<Answer> run(std::vector<transport::Generate> requests);
  // Lower-level: submit, cancel, wait.
  transport::RequestId submit(transport::Generate request);
  void cancel(transport::RequestId request);
  Answer wait(transport::RequestId request);
  std::size_t tokens_so_far(transport::RequestId request);
  // Waits until the request has at least n tokens or is finished.
  void wait_tokens(transport::RequestId request, std::size_t n);

  void put_policy(std::shared_ptr<const policy::ExitPolicy> policy) { policy_.put(std::move(policy)); }

  [[nodiscard]] const worker::WorkerStatus& status() const { return status_; }
  [[nodiscard]] double preemptions(worker::PreemptionKind kind) const {
    return metrics_.preemptions[kind].value();
  }
  [[nodiscard]] const monitoring::MetricsRegistry& registry() const { return registry_; }
  // Until every block that the answers so far made has been offered to every tier.
  void wait_stored();
  [[nodiscard]] std::uint32_t pages_used() const { return status_.pages_used.load(); }

 private:
  struct RankParts;
  void rank_main(int rank);
  kvstore::TieredStore* open_store(int rank, const worker::UnitCodec& codec);
  void lead(transport::Communicator& ranks, worker::StepExecutor& executor, kvstore::TieredStore* store,
            worker::BlockMover* mover, const worker::BlockGeometry& blocks, const worker::ModelConfig& model);
  void warm(worker::StepExecutor& executor, const worker::TransformerOptions& load, int rank,
            std::int32_t vocab);
  static void follow(transport::Communicator& ranks, worker::StepExecutor& executor,
                     kvstore::TieredStore* store);
  void receive();

  HarnessOptions options_;
  monitoring::MetricsRegistry registry_;
  monitoring::ProcessHealth health_;
  worker::WorkerMetrics metrics_;
  worker::WorkerStatus status_;
  worker::PolicySlot policy_;
  worker::RequestInbox inbox_{4096};
  worker::TokenOutbox outbox_;
  std::vector<std::unique_ptr<transport::Communicator>> group_;
  std::vector<std::thread> threads_;
  std::vector<std::unique_ptr<kvstore::TieredStore>> stores_;  // per rank, set before it leads or follows
  std::uint64_t next_request_ = 1;
  // guarded by mutex_
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<transport::RequestId, Answer> answers_;
  std::map<transport::RequestId, bool> finished_;
};

// Token ids of a short chat prompt that the reference model answers, number `i`: distinct, deterministic.
std::vector<std::int32_t> sample_prompt(int i, std::size_t tokens);

}  // namespace leadline::tests
