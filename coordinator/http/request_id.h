#pragma once
// X-Request-Id: which ids of clients are taken over, and how ours look. Not an authority for anything: it is
// for logs. Thread: any.

#include <cstdint>
#include <string>
#include <string_view>

namespace leadline::coordinator {

bool is_valid_request_id(std::string_view text, std::size_t limit);  // 1..limit of [A-Za-z0-9._:-]
std::string make_request_id();                                       // "req-" and 24 random hex digits
std::uint64_t random_u64();

}  // namespace leadline::coordinator
