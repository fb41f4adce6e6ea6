#pragma once
// head_check: the strict pass over one raw request head (up to and with the empty line) before a parser sees
// it. It decides what is refused; it does not produce values. Rules: RFC 9112 read as a server that fronts no
// other server would wish it. Thread: pure.

#include <optional>
#include <string>
#include <string_view>

#include "coordinator/limits.h"

namespace leadline::coordinator {

struct HeadFault {
  int status = 400;
  std::string message;  // no bytes of the request, save a header's name
};

// REQUIRES: `head` ends with the empty line. nullopt = acceptable.
std::optional<HeadFault> check_head(std::string_view head, const Limits& limits);

// Percent-decodes a path; nullopt on a bad escape, a control byte or a decoded NUL.
std::optional<std::string> percent_decode(std::string_view text);

bool equals_ignoring_case(std::string_view a, std::string_view b);
std::string lower_case(std::string_view text);

}  // namespace leadline::coordinator
