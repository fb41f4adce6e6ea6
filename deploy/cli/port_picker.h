#pragma once
// Finds free TCP ports by binding them for a moment. Not a reservation: another process may take one before
// it is used, which shows as that process's own error. Thread: any.

#include <optional>
#include <string>
#include <vector>

namespace leadline::deploy {

// True if all of `first` .. `first + count - 1` can be bound on `host` now.
bool ports_are_free(const std::string& host, int first, int count);
// `count` different free ports at random, below the range that outgoing connections use.
std::vector<int> pick_free_ports(const std::string& host, int count);
// The first of `count` free ports in a row, at or after `from`.
std::optional<int> find_free_block(const std::string& host, int from, int count);

}  // namespace leadline::deploy
