#include "policy/trajectory_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <map>
#include <system_error>
#include <utility>

#include "policy/byte_file.h"

namespace leadline::policy {
namespace {

constexpr std::uint64_t kMagic = 0x314A54'4C52544C4CULL;  // "LLTRLTJ1"
constexpr std::size_t kFileLimit = std::size_t{1} << 30, kTextLimit = 256;
constexpr std::size_t kDecisionLimit = 2 * (kMaxDraft + kMaxExits);  // of one round
constexpr std::string_view kPrefix = "trajectory.", kSuffix = ".lltj";

std::uint32_t checksum(std::span<const std::byte> bytes) {  // FNV-1a 32
  std::uint32_t hash = 0x811c9dc5U;
  for (const std::byte b : bytes) hash = (hash ^ static_cast<std::uint32_t>(b)) * 0x01000193U;
  return hash;
}

std::string path_of(const std::string& directory, std::uint64_t number) {
  return directory + "/" + std::string(kPrefix) + std::to_string(number) + std::string(kSuffix);
}

// Number -> bytes of this log's files.
std::map<std::uint64_t, std::size_t> files_in(const std::string& directory) {
  std::map<std::uint64_t, std::size_t> files;
  std::error_code error;
  for (std::filesystem::directory_iterator at(directory, error), end; !error && at != end;
       at.increment(error)) {
    const std::string name = at->path().filename().string();
    if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix) ||
        name.size() <= kPrefix.size() + kSuffix.size())
      continue;
    const std::string digits = name.substr(kPrefix.size(), name.size() - kPrefix.size() - kSuffix.size());
    if (digits.size() > 18 || !std::ranges::all_of(digits, [](char c) { return c >= '0' && c <= '9'; }))
      continue;
    std::error_code size_error;
    const auto size = at->file_size(size_error);
    files[std::stoull(digits)] = size_error ? 0 : static_cast<std::size_t>(size);
  }
  return files;
}

void put_decision(ByteWriter& out, const LoggedDecision& d) {
  out.put(static_cast<std::uint8_t>(d.kind));
  out.put(static_cast<std::uint8_t>(d.action.kind));
  out.put(static_cast<std::int16_t>(d.exit));
  out.put(static_cast<std::int16_t>(d.drafted));
  out.put(static_cast<std::int16_t>(d.max_draft));
  out.put(d.action.exit);
  out.put(d.action.max_draft);
  out.put(d.propensity);
  out.put(d.cost_us);
  out.put_all(std::span<const float>(d.features.values()));
}

bool get_decision(ByteReader& in, LoggedDecision& d) {
  const auto kind = in.get<std::uint8_t>(), action = in.get<std::uint8_t>();
  d.exit = in.get<std::int16_t>();
  d.drafted = in.get<std::int16_t>();
  d.max_draft = in.get<std::int16_t>();
  d.action.exit = in.get<std::int16_t>();
  d.action.max_draft = in.get<std::int16_t>();
  d.propensity = in.get<float>();
  d.cost_us = in.get<float>();
  std::array<float, kFeatureCount> values{};
  in.get_all(std::span<float>(values));
  for (std::size_t f = 0; f < kFeatureCount; ++f) d.features.set(static_cast<Feature>(f), values[f]);
  if (kind > static_cast<std::uint8_t>(DecisionKind::after_draft)) return false;
  if (action > static_cast<std::uint8_t>(ActionKind::keep_and_stop)) return false;
  d.kind = static_cast<DecisionKind>(kind);
  d.action.kind = static_cast<ActionKind>(action);
  return in.ok() && d.drafted >= 0 && d.drafted <= kMaxDraft && d.exit >= 0;
}

bool get_round(ByteReader& in, Trajectory& round) {
  round.sequence = in.get<std::uint64_t>();
  round.round = in.get<std::uint32_t>();
  round.batch_rows = in.get<std::int32_t>();
  round.tokens = in.get<std::int32_t>();
  round.drafted = in.get<std::int32_t>();
  round.accepted = in.get<std::int32_t>();
  const auto decisions = in.get<std::uint32_t>();
  if (!in.ok() || decisions == 0 || decisions > kDecisionLimit) return false;
  round.decisions.resize(decisions);
  for (LoggedDecision& d : round.decisions)
    if (!get_decision(in, d)) return false;
  const bool counts = round.batch_rows > 0 && round.tokens > 0 && round.tokens <= kMaxDraft + 1 &&
                      round.drafted >= 0 && round.drafted <= kMaxDraft && round.accepted >= 0 &&
                      round.accepted <= round.drafted;
  return counts && in.rest().empty();
}

}  // namespace

std::vector<std::byte> trajectory_header_bytes(const TrajectoryHeader& header) {
  ByteWriter out;
  out.put(kMagic);
  out.put(feature_schema_hash());
  out.put_text(header.model_identity);
  out.put_text(header.policy);
  out.put(header.epsilon);
  out.put(header.layers);
  out.put(static_cast<std::uint32_t>(header.exits.size()));
  out.put_all(std::span(header.exits));
  return {out.bytes().begin(), out.bytes().end()};
}

std::vector<std::byte> trajectory_record_bytes(const Trajectory& round) {
  ByteWriter body;
  body.put(round.sequence);
  body.put(round.round);
  body.put(round.batch_rows);
  body.put(round.tokens);
  body.put(round.drafted);
  body.put(round.accepted);
  body.put(static_cast<std::uint32_t>(round.decisions.size()));
  for (const LoggedDecision& d : round.decisions) put_decision(body, d);
  ByteWriter out;
  out.put(static_cast<std::uint32_t>(body.bytes().size()));
  out.put(checksum(body.bytes()));
  out.put_all(body.bytes());
  return {out.bytes().begin(), out.bytes().end()};
}

Result<TrajectoryFile> trajectories_from_bytes(std::span<const std::byte> bytes) {
  const auto malformed = [](const std::string& what) {
    return monitoring::fail(Errc::malformed_file, "trajectory log: " + what);
  };
  ByteReader in(bytes);
  if (in.get<std::uint64_t>() != kMagic) return malformed("magic: not a trajectory log");
  if (in.get<std::uint64_t>() != feature_schema_hash())
    return monitoring::fail(Errc::schema_mismatch, "trajectory log: of other features than this program's");
  TrajectoryFile file;
  file.header.model_identity = in.get_text(kTextLimit);
  file.header.policy = in.get_text(kTextLimit);
  file.header.epsilon = in.get<float>();
  file.header.layers = in.get<std::int32_t>();
  const auto exits = in.get<std::uint32_t>();
  file.header.exits = in.get_vector<std::int32_t>(exits <= kMaxExits ? exits : SIZE_MAX);
  if (!in.ok()) return malformed("the header is truncated or too long");
  std::int32_t below = 0;
  for (const std::int32_t exit : file.header.exits) {
    if (exit <= below || exit >= file.header.layers) return malformed("exit " + std::to_string(exit));
    below = exit;
  }
  while (in.ok() && !in.rest().empty()) {
    const std::size_t at = in.offset();
    const std::size_t size = in.get<std::uint32_t>();
    const auto sum = in.get<std::uint32_t>();
    const auto body = in.get_vector<std::byte>(size);
    Trajectory round;
    ByteReader fields(body);
    if (!in.ok() || checksum(body) != sum || !get_round(fields, round)) {
      file.damaged = bytes.size() - at;
      break;
    }
    file.rounds.push_back(std::move(round));
  }
  return file;
}

Result<TrajectoryFile> read_trajectories(const std::string& path) {
  const auto bytes = read_file(path, kFileLimit);
  if (!bytes) return tl::unexpected(bytes.error());
  auto file = trajectories_from_bytes(*bytes);
  if (!file) return monitoring::fail(file.error().code, path + ": " + file.error().message);
  return file;
}

TrajectoryLog::TrajectoryLog(std::string directory, TrajectoryHeader header,
                             const TrajectoryLogLimits& limits)
    : directory_(std::move(directory)), header_(std::move(header)), limits_(limits) {}

TrajectoryLog::TrajectoryLog(TrajectoryLog&& other) noexcept
    : directory_(std::move(other.directory_)),
      header_(std::move(other.header_)),
      limits_(other.limits_),
      file_(std::exchange(other.file_, -1)),
      number_(other.number_),
      file_bytes_(other.file_bytes_),
      buffer_(std::move(other.buffer_)),
      buffered_(std::exchange(other.buffered_, 0)),
      written_(other.written_),
      dropped_(other.dropped_) {}

TrajectoryLog::~TrajectoryLog() {
  flush();
  if (file_ >= 0) ::close(file_);
}

Result<TrajectoryLog> TrajectoryLog::open(const std::string& directory, TrajectoryHeader header,
                                          const TrajectoryLogLimits& limits) {
  if (limits.file_bytes < (1 << 12) || limits.total_bytes < 2 * limits.file_bytes)
    return monitoring::fail(Errc::configuration,
                            "trajectory log: total_bytes = " + std::to_string(limits.total_bytes) +
                                " must hold two files of file_bytes = " + std::to_string(limits.file_bytes));
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) return monitoring::fail(Errc::io, "trajectory log: " + directory + ": " + error.message());
  TrajectoryLog log(directory, std::move(header), limits);
  const auto files = files_in(directory);
  log.number_ = files.empty() ? 0 : files.rbegin()->first;
  if (!log.begin_file())
    return monitoring::fail(Errc::io,
                            "trajectory log: cannot write in " + directory + ": " + std::strerror(errno));
  return log;
}

bool TrajectoryLog::begin_file() {
  if (file_ >= 0) ::close(file_);
  ++number_;
  drop_oldest();
  file_ =
      ::open(path_of(directory_, number_).c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0644);
  const auto header = trajectory_header_bytes(header_);
  file_bytes_ = header.size();
  return file_ >= 0 && ::write(file_, header.data(), header.size()) == static_cast<ssize_t>(header.size());
}

// Room for one more full file.
void TrajectoryLog::drop_oldest() {
  auto files = files_in(directory_);
  std::size_t total = 0;
  for (const auto& [number, bytes] : files) total += bytes;
  while (!files.empty() && total + limits_.file_bytes > limits_.total_bytes) {
    std::error_code error;
    std::filesystem::remove(path_of(directory_, files.begin()->first), error);
    total -= files.begin()->second;
    files.erase(files.begin());
  }
}

bool TrajectoryLog::append(const Trajectory& round) {
  const auto record = trajectory_record_bytes(round);
  buffer_.insert(buffer_.end(), record.begin(), record.end());
  ++buffered_;
  return buffer_.size() < limits_.buffer_bytes || flush();
}

bool TrajectoryLog::flush() {
  if (buffered_ == 0) return true;
  bool ok = file_ >= 0;
  if (ok && file_bytes_ + buffer_.size() > limits_.file_bytes) ok = begin_file();
  if (ok) ok = ::write(file_, buffer_.data(), buffer_.size()) == static_cast<ssize_t>(buffer_.size());
  file_bytes_ += buffer_.size();
  (ok ? written_ : dropped_) += buffered_;
  buffer_.clear();
  buffered_ = 0;
  if (!ok &&
      file_ >= 0) {  // what came after a torn record could not be read: the next flush begins a new file
    ::close(file_);
    file_ = -1;
    begin_file();
  }
  return ok;
}

}  // namespace leadline::policy
