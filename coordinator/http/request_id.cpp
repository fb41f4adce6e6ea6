#include "coordinator/http/request_id.h"

#include <algorithm>
#include <cstdio>
#include <random>

namespace leadline::coordinator {

bool is_valid_request_id(std::string_view text, std::size_t limit) {
  return !text.empty() && text.size() <= limit && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == ':' || c == '-';
  });
}

std::uint64_t random_u64() {
  thread_local std::mt19937_64 generator = [] {
    std::random_device device;
    std::seed_seq seed{device(), device(), device(), device(), device(), device(), device(), device()};
    return std::mt19937_64(seed);
  }();
  return generator();
}

std::string make_request_id() {
  char text[32];
  std::snprintf(text, sizeof text, "req-%016llx%08llx", static_cast<unsigned long long>(random_u64()),
                static_cast<unsigned long long>(random_u64() & 0xFFFFFFFF));
  return text;
}

}  // namespace leadline::coordinator
