#pragma once
// TrajectoryLog: rounds appended to files of bounded size, oldest dropped first, and read back
// (docs/formats/trajectory.md). Not the decision whether to log. Holds no tokens and no text. Appends go to
// memory; what is whole goes to the file when a few records have gathered, so a step never waits for a disk
// for long. Thread: one owner for the writer; reading any. Invariants: a file is a header and whole records,
// each with a checksum; a torn last record is dropped by the reader, with a count; the directory never holds
// more than max_bytes of this log.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "policy/errc.h"
#include "policy/trajectory.h"

namespace leadline::policy {

struct TrajectoryHeader {
  std::string model_identity;
  std::string policy;  // name of the policy that decided
  float epsilon = 0;   // its exploration
  std::int32_t layers = 0;
  std::vector<std::int32_t> exits;
};

struct TrajectoryLogLimits {
  std::size_t file_bytes = std::size_t{16} << 20;    // then the next file begins
  std::size_t total_bytes = std::size_t{256} << 20;  // then the oldest file goes
  std::size_t buffer_bytes = 1 << 16;                // kept in memory at most
};

class TrajectoryLog {
 public:
  // Files are DIRECTORY/trajectory.<number>.lltj, going on after the highest number there. io, configuration.
  static Result<TrajectoryLog> open(const std::string& directory, TrajectoryHeader header,
                                    const TrajectoryLogLimits& limits = {});
  TrajectoryLog(TrajectoryLog&&) noexcept;
  TrajectoryLog& operator=(TrajectoryLog&&) = delete;
  ~TrajectoryLog();  // writes what is left

  // False and nothing kept if the disk failed; counted in dropped(). Serving goes on without a log.
  bool append(const Trajectory& round);
  bool flush();
  [[nodiscard]] std::uint64_t dropped() const { return dropped_; }
  [[nodiscard]] std::uint64_t written() const { return written_; }

 private:
  TrajectoryLog(std::string directory, TrajectoryHeader header, const TrajectoryLogLimits& limits);
  bool begin_file();
  void drop_oldest();

  // Constant after open.
  std::string directory_;
  TrajectoryHeader header_;
  TrajectoryLogLimits limits_;
  // Owned by the writer.
  int file_ = -1;
  std::uint64_t number_ = 0;
  std::size_t file_bytes_ = 0;
  std::vector<std::byte> buffer_;
  std::uint64_t buffered_ = 0, written_ = 0, dropped_ = 0;  // rounds
};

struct TrajectoryFile {
  TrajectoryHeader header;
  std::vector<Trajectory> rounds;
  std::uint64_t damaged = 0;  // bytes at the end that are no whole record
};

std::vector<std::byte> trajectory_header_bytes(const TrajectoryHeader& header);
std::vector<std::byte> trajectory_record_bytes(const Trajectory& round);
// malformed_file for a wrong header, schema_mismatch; damage after it ends the reading and is counted.
Result<TrajectoryFile> trajectories_from_bytes(std::span<const std::byte> bytes);
Result<TrajectoryFile> read_trajectories(const std::string& path);

}  // namespace leadline::policy
