#pragma once
// DiskFiles: the files of a block directory: names, whole reads, writes that appear at once, quarantine. Not
// an index, not a limit (disk_tier, disk_usage). Thread: any; no state but descriptors of directories.
//
//   DIR/v1/blocks/ab/abcdef…-3.kvb   one block each: key in hex, KV head
//   DIR/v1/tmp/                      blocks being written; a crash leaves them here, the next sole user
//   deletes them DIR/v1/quarantine/               damaged blocks as they were found, for people; never
//   deleted by a server DIR/v1/lock, DIR/v1/usage        disk_usage
//
// Commit order: whole temp file, then rename without replacing. No fsync: a block that a power cut tore is
// found by its length or checksum, and is a miss (decision 0020).

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "kvstore/block.h"

namespace leadline::kvstore {

std::string block_file_name(const BlockId& id);                    // "ab/abcdef…-3.kvb"
std::optional<BlockId> block_of_file_name(std::string_view name);  // of the last part; none: not such a name

enum class FileOutcome : std::uint8_t {
  ok = 0,
  absent,    // read, remove: no such file
  present,   // write: another writer was first
  damaged,   // read: not a whole block of this id; the reason says what
  no_space,  // the filesystem or its quota is full
  not_writable,
  failed,  // another error of the system
};
struct FileResult {
  FileOutcome outcome = FileOutcome::ok;
  std::string why;  // of damaged, not_writable and failed: for logs
};

class DiskFiles {
 public:
  // Makes what is missing below `directory` (mode 0700). configuration: it cannot be a block directory.
  static Result<std::unique_ptr<DiskFiles>> open(const std::string& directory);

  [[nodiscard]] FileResult read(const BlockId& id, BlockPtr& block) const;
  void read_ahead(const BlockId& id) const;  // into the page cache, in the background
  [[nodiscard]] bool exists(const BlockId& id, std::uint64_t* size = nullptr) const;
  [[nodiscard]] FileResult write(const BlockPtr& block);
  [[nodiscard]] FileResult remove(const BlockId& id) const;
  void set_read_now(const BlockId& id) const;  // its age counts from now, for later starts

  // Moves the file to quarantine/, where its name says when; the name given, or "" if it was gone.
  std::string quarantine(const BlockId& id) const;
  [[nodiscard]] std::uint64_t quarantined_bytes() const;
  void remove_stale_temps() const;  // REQUIRES: no other process uses the directory

  struct Found {
    BlockId id;
    std::uint64_t size = 0;
    std::int64_t modified_ns = 0;
    std::optional<BlockHeader> header;  // none: damaged, by name, length or header
    std::string why;
  };
  // Every file of blocks/, in no order; the header is read and checked, not the checksum. False from `each`
  // ends it.
  void scan(const std::function<bool(Found)>& each) const;

  [[nodiscard]] const std::string& directory() const { return root_; }  // DIR/v1

 private:
  explicit DiskFiles(std::string root) : root_(std::move(root)) {}
  [[nodiscard]] std::string path(const BlockId& id) const { return root_ + "/blocks/" + block_file_name(id); }
  [[nodiscard]] FileResult write_temp(const BlockPtr& block, const std::string& temp) const;

  const std::string root_;
};

// What a file of `size` bytes costs: whole filesystem blocks and its directory entry.
[[nodiscard]] std::uint64_t file_cost(std::uint64_t size);

}  // namespace leadline::kvstore
