#pragma once
// Structured log lines: level, event name, key=value fields (request id among them), on standard error, as
// text or JSON. Not a metrics channel, and never prompt or answer text, keys or secrets. spdlog stays in the
// .cpp. Thread: any. Invariants: an event's lines are limited (log_limiter.h), so names are constants and
// what varies is a field; values are escaped, so a line is always one line.

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>

namespace leadline::monitoring {

enum class LogLevel { debug, info, warn, error };

// One key and its value, rendered when the line is built.
struct LogField {
  std::string_view key;
  std::string value;
  LogField(std::string_view k, std::string v) : key(k), value(std::move(v)) {}
  LogField(std::string_view k, std::string_view v) : key(k), value(v) {}
  LogField(std::string_view k, const char* v) : key(k), value(v) {}
  LogField(std::string_view k, bool v) : key(k), value(v ? "true" : "false") {}
  template <typename T>
  requires(std::is_arithmetic_v<T> && !std::is_same_v<T, bool>) LogField(std::string_view k, T v)
      : key(k), value(std::to_string(v)) {}
};

struct LogOptions {
  LogLevel level = LogLevel::info;
  bool json = false;
  std::string process;  // "coordinator", "worker 0 rank 1"; in every line
};

void init_log(const LogOptions& options);  // once, in main, before threads
void log(LogLevel level, std::string_view event, std::initializer_list<LogField> fields = {});

inline void log_debug(std::string_view e, std::initializer_list<LogField> f = {}) {
  log(LogLevel::debug, e, f);
}
inline void log_info(std::string_view e, std::initializer_list<LogField> f = {}) {
  log(LogLevel::info, e, f);
}
inline void log_warn(std::string_view e, std::initializer_list<LogField> f = {}) {
  log(LogLevel::warn, e, f);
}
inline void log_error(std::string_view e, std::initializer_list<LogField> f = {}) {
  log(LogLevel::error, e, f);
}

}  // namespace leadline::monitoring
