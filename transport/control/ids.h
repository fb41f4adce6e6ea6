#pragma once
// Strong ids that cross process boundaries. Not indices into anything: an id is made once, by the side named
// beside it. Thread: values.

#include <compare>
#include <cstdint>
#include <functional>

namespace leadline::transport {

template <typename Tag, typename Rep>
struct StrongId {
  using rep = Rep;
  Rep value{};
  constexpr StrongId() = default;
  constexpr explicit StrongId(Rep v) : value(v) {}
  friend constexpr auto operator<=>(StrongId, StrongId) = default;
};

using RequestId =
    StrongId<struct RequestIdTag, std::uint64_t>;  // one generation; made by the coordinator, unique per link
using SessionId =
    StrongId<struct SessionIdTag, std::uint64_t>;  // a conversation across requests; made by the coordinator
using WorkerId = StrongId<struct WorkerIdTag, std::uint32_t>;  // index in the coordinator's fleet
using TokenId = std::int32_t;  // vocabulary index; plain, it is arithmetic data

}  // namespace leadline::transport

template <typename Tag, typename Rep>
struct std::hash<leadline::transport::StrongId<Tag, Rep>> {
  std::size_t operator()(leadline::transport::StrongId<Tag, Rep> id) const noexcept {
    return std::hash<Rep>{}(id.value);
  }
};
