#pragma once
// addresses_of: a name as the numeric addresses behind it: a headless Service stands for all of its pods. Not
// a cache. Thread: any; waits for the system's resolver.

#include <set>
#include <string>

#include "deploy/cli/errc.h"
#include "deploy/cli/url.h"

namespace leadline::deploy {

// Each once; io: what the resolver says.
Result<std::set<std::string>> addresses_of(const Url& url);

}  // namespace leadline::deploy
