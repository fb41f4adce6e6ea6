#include "monitoring/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>

#include "monitoring/log_limiter.h"

namespace leadline::monitoring {
namespace {

constexpr std::size_t kMaxValue = 1024;  // bytes of one field's value; the rest is cut
// A seat belt, not a licence: values of these keys are never written, whoever passes them.
constexpr std::string_view kSecretKeys[] = {"api_key",  "authorization", "control_secret", "key",
                                            "password", "prompt",        "secret",         "text"};

struct Logger {
  std::shared_ptr<spdlog::logger> sink;
  bool json = false;
  std::string process;
  std::mutex lock;
  LogLimiter limiter;  // guarded by lock
};

// One per process: logging is the only global, set up by main before threads and used with defaults until
// then.
Logger& logger() {
  static Logger* instance = [] {
    auto* made = new Logger;  // never destroyed: threads may log while the process ends
    made->sink =
        std::make_shared<spdlog::logger>("leadline", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->sink->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l %v", spdlog::pattern_time_type::utc);
    made->sink->flush_on(spdlog::level::debug);
    return made;
  }();
  return *instance;
}

spdlog::level::level_enum to_spdlog(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return spdlog::level::debug;
    case LogLevel::info:
      return spdlog::level::info;
    case LogLevel::warn:
      return spdlog::level::warn;
    case LogLevel::error:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

std::string quote(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

bool is_plain(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return c > 0x20 && c < 0x7f && c != '"' && c != '=' && c != '\\';
  });
}

std::string_view value_of(const LogField& field) {
  const bool secret =
      std::find(std::begin(kSecretKeys), std::end(kSecretKeys), field.key) != std::end(kSecretKeys);
  return secret ? std::string_view("(hidden)") : std::string_view(field.value).substr(0, kMaxValue);
}

std::string to_text(std::string_view process, std::string_view event,
                    std::initializer_list<LogField> fields) {
  std::string line = process.empty() ? std::string() : "[" + std::string(process) + "] ";
  line += event;
  for (const LogField& field : fields) {
    const std::string_view value = value_of(field);
    line.append(" ").append(field.key).append("=").append(is_plain(value) ? std::string(value)
                                                                          : quote(value));
  }
  return line;
}

std::string to_json(std::string_view process, std::string_view event,
                    std::initializer_list<LogField> fields) {
  std::string line = "\"process\":" + quote(process) + ",\"event\":" + quote(event);
  for (const LogField& field : fields) line += "," + quote(field.key) + ":" + quote(value_of(field));
  return line;
}

}  // namespace

void init_log(const LogOptions& options) {
  Logger& log = logger();
  const std::lock_guard guard(log.lock);
  log.json = options.json;
  log.process = options.process;
  log.sink->set_level(to_spdlog(options.level));
  log.sink->set_pattern(
      options.json ? R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l",%v})" : "%Y-%m-%dT%H:%M:%S.%eZ %l %v",
      spdlog::pattern_time_type::utc);
}

void log(LogLevel level, std::string_view event, std::initializer_list<LogField> fields) {
  Logger& log = logger();
  if (!log.sink->should_log(to_spdlog(level))) return;
  std::string line;
  {
    const std::lock_guard guard(log.lock);
    const auto left_out = log.limiter.admit(event, LogLimiter::Clock::now());
    if (!left_out) return;
    line = log.json ? to_json(log.process, event, fields) : to_text(log.process, event, fields);
    if (*left_out > 0) {
      const std::string count = std::to_string(*left_out);
      line += log.json ? ",\"left_out\":\"" + count + "\"" : " left_out=" + count;
    }
  }
  log.sink->log(to_spdlog(level), line);
}

}  // namespace leadline::monitoring
