#pragma once
// ApiKeys: bearer keys from a file ("name:key" or "key" a line, # comments), compared in constant time,
// loaded again when the file changes. The name is the tenant: keys of one name share sessions and cache. Keys
// are kept as SHA-256 only and never logged. Thread: the I/O thread.

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/errc.h"

namespace leadline::coordinator {

using Digest = std::array<std::uint8_t, 32>;

struct Tenant {
  std::string name;  // "" = the default tenant, when there is no key file
  Digest salt{};     // exactness X7: HMAC-SHA256(cluster secret, name); zero for the default tenant
};

class ApiKeys {
 public:
  // io, configuration: unreadable, empty, a line that is not a key (named by number, never by content).
  static Result<std::unique_ptr<ApiKeys>> load(std::string path, std::string cluster_secret);
  static Result<std::unique_ptr<ApiKeys>> parse(std::string_view text, std::string cluster_secret);

  // `authorization`: the header's value, "Bearer KEY". Every stored key is compared whatever the outcome.
  std::optional<Tenant> authenticate(std::string_view authorization) const;
  // Looks at the file; a broken new file leaves the old keys in place and is returned as an error. force:
  // SIGHUP.
  Result<bool> reload_if_changed(bool force);
  std::size_t size() const { return keys_.size(); }

 private:
  struct Key {
    Digest digest;
    Tenant tenant;
  };
  static Result<std::vector<Key>> read(std::string_view text, const std::string& secret);

  std::string path_, secret_, stamp_;
  std::vector<Key> keys_;
};

}  // namespace leadline::coordinator
