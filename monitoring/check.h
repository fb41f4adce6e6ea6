#pragma once
// LEADLINE_CHECK: a broken invariant of ours is printed with its place and ends the process. Not for bad
// input: what a caller can act on is a Result (monitoring/error.h). LEADLINE_DCHECK: the same, compiled in
// only with LEADLINE_DCHECK=ON. Thread: any.

namespace leadline::monitoring {

[[noreturn]] void check_failed(const char* file, int line, const char* condition,
                               const char* message) noexcept;

}  // namespace leadline::monitoring

#define LEADLINE_CHECK(condition, message)                                           \
  do {                                                                               \
    if (!(condition)) [[unlikely]]                                                   \
      ::leadline::monitoring::check_failed(__FILE__, __LINE__, #condition, message); \
  } while (false)

#ifdef LEADLINE_ENABLE_DCHECK
#define LEADLINE_DCHECK(condition, message) LEADLINE_CHECK(condition, message)
#else
#define LEADLINE_DCHECK(condition, message) \
  do {                                      \
  } while (false)
#endif
