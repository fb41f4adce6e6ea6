#pragma once
// The shape of every error value in the tree: a directory's own code and one sentence for people.
// Not a hierarchy and not an exception: each top-level directory has an `errc.h` with its own enum (success =
// 0, unknown last) and names `Error` and `Result<T>` from the templates here. Thread: values, no sharing.

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace leadline::monitoring {

template <typename Code>
struct BasicError {
  Code code;
  std::string message;  // names the field and the value; no secrets, no prompt text
};

template <typename T, typename Code>
using BasicResult = tl::expected<T, BasicError<Code>>;

template <typename Code>
[[nodiscard]] tl::unexpected<BasicError<Code>> fail(Code code, std::string message) {
  return tl::unexpected<BasicError<Code>>(BasicError<Code>{code, std::move(message)});
}

}  // namespace leadline::monitoring
