#pragma once
// One message of every type with every field set, for round trips, golden bytes and mutations. Not random:
// golden files depend on it.

#include <string>
#include <utility>
#include <vector>

#include "transport/control/messages.h"

namespace leadline::tests {

// (name of the golden file, message)
std::vector<std::pair<std::string, transport::Message>> sample_messages();
transport::Generate sample_generate();

}  // namespace leadline::tests
