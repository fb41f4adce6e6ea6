#include "monitoring/log.h"

#include <cstdio>

namespace leadline::monitoring {

void init_log(const LogOptions&) {}

void log(LogLevel level, std::string_view event, std::initializer_list<LogField> fields) {
  if (level == LogLevel::debug) return;
  std::string line(event);
  for (const LogField& field : fields) line.append(" ").append(field.key).append("=").append(field.value);
  line.push_back('\n');
  std::fputs(line.c_str(), stderr);
}

}  // namespace leadline::monitoring
