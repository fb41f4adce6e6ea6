#include "monitoring/check.h"

#include <cstdio>
#include <cstdlib>

namespace leadline::monitoring {

void check_failed(const char* file, int line, const char* condition, const char* message) noexcept {
  std::fprintf(stderr, "%s:%d: broken invariant: %s (%s)\n", file, line, message, condition);
  std::fflush(stderr);
  std::abort();
}

}  // namespace leadline::monitoring
