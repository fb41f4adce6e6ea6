#include "kvstore/replay/access_log.h"

#include <xxhash.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "monitoring/error.h"

namespace leadline::kvstore {
namespace {

constexpr char kMagic[8] = {'L', 'K', 'V', 'A', 'L', 'O', 'G', 1};
constexpr std::size_t kRecordBytes = 48;

void put_record(const AccessRecord& r, std::byte* at) {
  std::memcpy(at, &r.time_s, 8);
  std::memcpy(at + 8, &r.key, 8);
  std::memcpy(at + 16, &r.parent, 8);
  std::memcpy(at + 24, &r.request, 4);
  std::memcpy(at + 28, &r.depth, 4);
  std::memcpy(at + 32, &r.bytes, 4);
  std::memcpy(at + 36, &r.cost_s, 4);
  const auto access = static_cast<std::uint32_t>(r.access);
  std::memcpy(at + 40, &access, 4);
  const auto sum = static_cast<std::uint32_t>(XXH3_64bits(at, 44));
  std::memcpy(at + 44, &sum, 4);
}

bool get_record(const std::byte* at, AccessRecord& r) {
  std::uint32_t sum = 0, access = 0;
  std::memcpy(&sum, at + 44, 4);
  if (sum != static_cast<std::uint32_t>(XXH3_64bits(at, 44))) return false;
  std::memcpy(&r.time_s, at, 8);
  std::memcpy(&r.key, at + 8, 8);
  std::memcpy(&r.parent, at + 16, 8);
  std::memcpy(&r.request, at + 24, 4);
  std::memcpy(&r.depth, at + 28, 4);
  std::memcpy(&r.bytes, at + 32, 4);
  std::memcpy(&r.cost_s, at + 36, 4);
  std::memcpy(&access, at + 40, 4);
  r.access = static_cast<Access>(access);
  return access <= 1 && std::isfinite(r.time_s) && std::isfinite(r.cost_s) && r.cost_s >= 0;
}

std::string older(const std::string& path, int n) {
  return n == 0 ? path : path + "." + std::to_string(n);
}

}  // namespace

Result<std::unique_ptr<AccessLog>> AccessLog::open(const AccessLogOptions& options) {
  if (options.files < 1 || options.files > 1000 || options.file_bytes < 4096)
    return monitoring::fail(Errc::configuration, "access log: files 1..1000 of at least 4096 bytes");
  std::unique_ptr<AccessLog> log(new AccessLog(options));
  log->rotate();
  if (!log->begin_file())
    return monitoring::fail(Errc::io, "access log " + options.path + ": " + std::strerror(errno));
  return log;
}

AccessLog::~AccessLog() {
  flush();
}

bool AccessLog::begin_file() {
  file_.reset(std::fopen(options_.path.c_str(), "wb"));
  file_bytes_ = sizeof kMagic;
  return file_ && std::fwrite(kMagic, 1, sizeof kMagic, file_.get()) == sizeof kMagic &&
         std::fflush(file_.get()) == 0;  // a log from the first moment, though nothing was asked yet
}

void AccessLog::rotate() {
  file_.reset();
  std::error_code ignored;
  std::filesystem::remove(older(options_.path, options_.files - 1), ignored);
  for (int n = options_.files - 1; n > 0; --n)
    std::filesystem::rename(older(options_.path, n - 1), older(options_.path, n), ignored);
}

void AccessLog::add(const AccessRecord& record) {
  const std::size_t at = buffer_.size();
  buffer_.resize(at + kRecordBytes);
  put_record(record, buffer_.data() + at);
  if (buffer_.size() >= kBufferRecords * kRecordBytes) flush();
}

void AccessLog::flush() {
  std::size_t done = 0;
  while (done < buffer_.size()) {
    if (file_bytes_ + kRecordBytes > options_.file_bytes) {
      rotate();
      if (!begin_file()) file_.reset();
    }
    const std::size_t room = (options_.file_bytes - file_bytes_) / kRecordBytes * kRecordBytes;
    const std::size_t n = std::min(buffer_.size() - done, room);
    const bool ok = file_ && n != 0 && std::fwrite(buffer_.data() + done, 1, n, file_.get()) == n;
    if (!ok) {  // disk full or gone: what is in hand is lost, the next flush tries again
      lost_ += (buffer_.size() - done) / kRecordBytes;
      file_.reset();
      file_bytes_ = options_.file_bytes;
      break;
    }
    written_ += n / kRecordBytes;
    file_bytes_ += n;
    done += n;
  }
  buffer_.clear();
  if (file_) std::fflush(file_.get());
}

Result<ReadLog> access_records_from_bytes(std::span<const std::byte> bytes, std::size_t limit) {
  if (bytes.size() < sizeof kMagic || std::memcmp(bytes.data(), kMagic, sizeof kMagic) != 0)
    return monitoring::fail(Errc::malformed, "access log: not one, or of another version");
  ReadLog log;
  bytes = bytes.subspan(sizeof kMagic);
  for (; bytes.size() >= kRecordBytes && log.records.size() < limit; bytes = bytes.subspan(kRecordBytes)) {
    AccessRecord record;
    if (get_record(bytes.data(), record))
      log.records.push_back(record);
    else
      ++log.damaged;
  }
  if (!bytes.empty() && bytes.size() < kRecordBytes) ++log.damaged;  // a torn end
  return log;
}

Result<ReadLog> read_access_log(const std::string& path, std::size_t limit) {
  int oldest = 0;
  while (oldest < 1000 && std::filesystem::exists(older(path, oldest + 1))) ++oldest;
  ReadLog all;
  for (int n = oldest; n >= 0; --n) {
    std::ifstream in(older(path, n), std::ios::binary);
    if (!in) return monitoring::fail(Errc::io, "access log " + older(path, n) + " cannot be read");
    const std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
    auto log = access_records_from_bytes(std::as_bytes(std::span(text)), limit - all.records.size());
    if (!log) return tl::unexpected(log.error());
    all.records.insert(all.records.end(), log->records.begin(), log->records.end());
    all.damaged += log->damaged;
  }
  return all;
}

std::vector<std::byte> to_bytes(std::span<const AccessRecord> records) {
  std::vector<std::byte> out(sizeof kMagic + records.size() * kRecordBytes);
  std::memcpy(out.data(), kMagic, sizeof kMagic);
  for (std::size_t i = 0; i < records.size(); ++i)
    put_record(records[i], out.data() + sizeof kMagic + i * kRecordBytes);
  return out;
}

}  // namespace leadline::kvstore
