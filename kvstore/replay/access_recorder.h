#pragma once
// AccessRecorder: the access log of a running store: takes records from the thread that decides and writes
// them on its own. Not the file format (access_log.h) and not a decision what to record. A log goes on where
// the last run's ended: times and request numbers never fall over its files.
// Thread: looked() and offered() by one thread; neither waits. Invariants: (1) at most `queued_records` wait;
// beyond, a whole chain is dropped and counted; (2) one process writes a log (a lock beside it); (3) a file
// that is no access log is never moved or written.

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "kvstore/block_key.h"
#include "kvstore/job_queue.h"
#include "kvstore/replay/access_log.h"
#include "monitoring/metrics.h"

namespace leadline::kvstore {

enum class AccessEnd { written, dropped, lost };  // dropped: the writer was behind; lost: the disk refused
using AccessCounters = monitoring::HandleSet<AccessEnd, monitoring::Counter>;

struct AccessRecorderOptions {
  AccessLogOptions log;
  std::uint64_t queued_records = std::uint64_t{1} << 16;
};

class AccessRecorder {
 public:
  // configuration: not an access log, or another process writes it; io.
  static Result<std::unique_ptr<AccessRecorder>> open(const AccessRecorderOptions& options,
                                                      AccessCounters ends);
  ~AccessRecorder();  // writes what waits, for a moment
  AccessRecorder(const AccessRecorder&) = delete;
  AccessRecorder& operator=(const AccessRecorder&) = delete;

  // One request's chain, in order; and blocks handed to the store. Time and request are set here.
  void looked(std::vector<AccessRecord> chain);
  void offered(std::vector<AccessRecord> blocks);
  void wait_idle();  // for tests

 private:
  struct Lock {
    explicit Lock(int file) : file(file) {}
    ~Lock();
    const int file;
  };
  struct Past {  // the end of what earlier runs wrote
    double time_s = 0;
    std::uint32_t request = 0;
  };
  AccessRecorder(const AccessRecorderOptions& options, AccessCounters ends, Past past);
  static Result<Past> past_of(const std::string& path);
  void push(std::vector<AccessRecord> records, std::uint32_t request);
  void write(const std::vector<AccessRecord>& records);

  const AccessCounters ends_;
  const double past_s_;
  const std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  std::uint32_t request_;  // of the last chain
  std::unique_ptr<Lock> lock_;
  // the queue's thread
  std::unique_ptr<AccessLog> log_;
  std::uint64_t written_ = 0, lost_ = 0;  // as counted
  JobQueue queue_;
};

// All but time and request, which the recorder sets.
AccessRecord access_of(Access access, const BlockKey& key, const BlockKey& parent, std::uint32_t depth);

}  // namespace leadline::kvstore
