#pragma once
// AccessLog: appends AccessRecords to files of bounded size, the oldest dropped; AccessReader reads them
// back, stopping at damage. Not sampling and not a metric. A log that cannot be written is counted, never an
// error of the store. Thread: add() and flush() by one thread (the store's I/O thread). Invariants: at most
// `files` files of `file_bytes` bytes; at most kBufferRecords in memory; a record is whole or refused
// (checksum each).

#include <cstdio>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kvstore/errc.h"
#include "kvstore/replay/access_record.h"

namespace leadline::kvstore {

struct AccessLogOptions {
  std::string path;  // of the newest file; older ones are path.1, path.2, ...
  std::uint64_t file_bytes = std::uint64_t{16} << 20;
  int files = 4;
};

class AccessLog {
 public:
  static Result<std::unique_ptr<AccessLog>> open(const AccessLogOptions& options);
  ~AccessLog();
  AccessLog(const AccessLog&) = delete;
  AccessLog& operator=(const AccessLog&) = delete;

  void add(const AccessRecord& record);  // flushes by itself when the buffer is full
  void flush();
  [[nodiscard]] std::uint64_t written() const { return written_; }
  [[nodiscard]] std::uint64_t lost() const { return lost_; }

  static constexpr std::size_t kBufferRecords = 4096;

 private:
  struct Close {
    void operator()(std::FILE* f) const { std::fclose(f); }
  };
  explicit AccessLog(const AccessLogOptions& options) : options_(options) {}
  bool begin_file();
  void rotate();

  const AccessLogOptions options_;
  std::unique_ptr<std::FILE, Close> file_;
  std::uint64_t file_bytes_ = 0;
  std::vector<std::byte> buffer_;
  std::uint64_t written_ = 0, lost_ = 0;
};

struct ReadLog {
  std::vector<AccessRecord> records;
  std::uint64_t damaged = 0;  // records that were skipped
};

// One file's bytes. malformed: no log at all. `limit` bounds the records.
Result<ReadLog> access_records_from_bytes(std::span<const std::byte> bytes, std::size_t limit);
// path and its rotated older ones, oldest first. io, malformed.
Result<ReadLog> read_access_log(const std::string& path, std::size_t limit = std::size_t{1} << 24);
std::vector<std::byte> to_bytes(std::span<const AccessRecord> records);  // a whole file

}  // namespace leadline::kvstore
