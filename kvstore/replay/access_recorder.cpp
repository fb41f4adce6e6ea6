#include "kvstore/replay/access_recorder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "monitoring/error.h"

namespace leadline::kvstore {
namespace {

constexpr std::chrono::milliseconds kPatience{2'000};

double seconds_since_written(const std::string& path) {
  std::error_code none;
  const auto at = std::filesystem::last_write_time(path, none);
  if (none) return 0;
  const std::chrono::duration<double> since = std::filesystem::file_time_type::clock::now() - at;
  return std::clamp(since.count(), 0.0, 1e8);  // clocks are set, too
}

}  // namespace

AccessRecorder::Lock::~Lock() {
  ::close(file);
}

Result<AccessRecorder::Past> AccessRecorder::past_of(const std::string& path) {
  std::error_code none;
  if (std::filesystem::is_regular_file(path, none) && std::filesystem::file_size(path, none) == 0)
    std::filesystem::remove(path, none);  // of a run that was ended before it wrote anything
  if (!std::filesystem::exists(path, none)) return Past{};
  const auto log = read_access_log(path);
  if (!log)
    return monitoring::fail(Errc::configuration,
                            "access log " + path + " is there already and: " + log.error().message);
  Past past;
  for (const AccessRecord& r : log->records) {
    past.time_s = std::max(past.time_s, r.time_s);
    past.request = std::max(past.request, r.request);
  }
  past.time_s += seconds_since_written(path);
  return past;
}

Result<std::unique_ptr<AccessRecorder>> AccessRecorder::open(const AccessRecorderOptions& options,
                                                             AccessCounters ends) {
  const std::string& path = options.log.path;
  const int file = ::open((path + ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0) return monitoring::fail(Errc::io, "access log " + path + ".lock: " + std::strerror(errno));
  auto lock = std::make_unique<Lock>(file);
  if (::flock(file, LOCK_EX | LOCK_NB) != 0)
    return monitoring::fail(Errc::configuration, "access log " + path + ": another process writes it");
  const auto past = past_of(path);
  if (!past) return tl::unexpected(past.error());
  auto log = AccessLog::open(options.log);
  if (!log) return tl::unexpected(log.error());
  std::unique_ptr<AccessRecorder> recorder(new AccessRecorder(options, std::move(ends), *past));
  recorder->lock_ = std::move(lock);
  recorder->log_ = std::move(*log);
  return recorder;
}

AccessRecorder::AccessRecorder(const AccessRecorderOptions& options, AccessCounters ends, Past past)
    : ends_(std::move(ends)), past_s_(past.time_s), request_(past.request), queue_(options.queued_records) {}

AccessRecorder::~AccessRecorder() {
  queue_.close(kPatience);
}

void AccessRecorder::looked(std::vector<AccessRecord> chain) {
  if (!chain.empty()) push(std::move(chain), ++request_);
}

void AccessRecorder::offered(std::vector<AccessRecord> blocks) {
  if (!blocks.empty()) push(std::move(blocks), 0);
}

void AccessRecorder::push(std::vector<AccessRecord> records, std::uint32_t request) {
  const std::chrono::duration<double> since = std::chrono::steady_clock::now() - began_;
  for (AccessRecord& r : records) {
    r.time_s = past_s_ + since.count();
    r.request = request;
  }
  const std::size_t n = records.size();
  if (!queue_.push([this, held = std::move(records)] { write(held); }, n))
    ends_[AccessEnd::dropped].inc(static_cast<double>(n));
}

void AccessRecorder::write(const std::vector<AccessRecord>& records) {
  for (const AccessRecord& r : records) log_->add(r);
  if (queue_.waiting() <= records.size()) log_->flush();  // nothing more for now: readers see all of it
  ends_[AccessEnd::written].inc(static_cast<double>(log_->written() - written_));
  ends_[AccessEnd::lost].inc(static_cast<double>(log_->lost() - lost_));
  written_ = log_->written();
  lost_ = log_->lost();
}

void AccessRecorder::wait_idle() {
  queue_.wait_idle();
}

AccessRecord access_of(Access access, const BlockKey& key, const BlockKey& parent, std::uint32_t depth) {
  AccessRecord r;
  std::memcpy(&r.key, key.bytes.data(), sizeof r.key);
  std::memcpy(&r.parent, parent.bytes.data(), sizeof r.parent);
  r.depth = depth;
  r.access = access;
  return r;
}

}  // namespace leadline::kvstore
