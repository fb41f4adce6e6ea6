#pragma once
// ClientStream: one TCP or TLS connection with deadlines and a way to be interrupted. Not HTTP (http_client).
// Thread: one at a time. Invariants: no call waits past its deadline; after an error only destruction makes
// sense.

#include <chrono>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "deploy/cli/errc.h"
#include "deploy/cli/url.h"

namespace leadline::deploy {

struct StreamOptions {
  std::string ca_file;    // trusted besides the system's certificates
  bool insecure = false;  // accept any certificate: for self-signed ones on a test machine
  int interrupt_fd = -1;  // readable = give up with Errc::interrupted
};

class ClientStream {
 public:
  using Deadline = std::chrono::steady_clock::time_point;
  static Result<std::unique_ptr<ClientStream>> connect(const Url& url, const StreamOptions& options,
                                                       Deadline deadline);
  ~ClientStream();
  ClientStream(const ClientStream&) = delete;
  ClientStream& operator=(const ClientStream&) = delete;

  Result<std::size_t> read_some(std::span<char> into, Deadline deadline);  // 0 = the peer closed
  Result<void> write_all(std::string_view bytes, Deadline deadline);

 private:
  ClientStream();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace leadline::deploy
