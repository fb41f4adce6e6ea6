#pragma once
// AdminServer: GET /metrics /livez /readyz /startupz on an own port and thread, so that it answers while a
// step runs. Not the API server: no TLS, no keys, no keep-alive, one small request per connection. Thread:
// one of its own runs the sockets and every handler; start and stop from the owner's. Invariants: (1)
// handlers read atomics and snapshots only; (2) GET changes nothing, routes that do are POST and registered
// by the owner before start; (3) connections, bytes and seconds of a request are bounded by AdminOptions.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "monitoring/admin_request.h"
#include "monitoring/errc.h"
#include "monitoring/metrics.h"
#include "monitoring/process_health.h"

namespace leadline::monitoring {

struct AdminOptions {
  std::string host = "127.0.0.1";            // address or name; the first address that binds is taken
  std::uint16_t port = 0;                    // 0 = any free one, see AdminServer::port
  std::size_t max_connections = 32;          // more are accepted and closed at once
  std::size_t max_request_bytes = 16 << 10;  // request line, headers and body
  std::uint32_t request_timeout_ms = 5000;   // from accept to the last byte of the answer
};

struct AdminResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
};

struct AdminRoute {
  std::string method;                                        // "POST" for anything that changes state
  std::string path;                                          // exact
  std::function<AdminResponse(const AdminRequest&)> handle;  // on the admin thread; must not wait
};

class AdminServer {
 public:
  // Binds, then serves on its own thread until stop(). `metrics` and `health` must outlive it.
  static Result<std::unique_ptr<AdminServer>> start(const AdminOptions& options, MetricsRegistry& metrics,
                                                    const ProcessHealth& health,
                                                    std::vector<AdminRoute> more = {});
  ~AdminServer();
  AdminServer(const AdminServer&) = delete;
  AdminServer& operator=(const AdminServer&) = delete;

  [[nodiscard]] std::uint16_t port() const;
  void stop();  // closes everything, joins the thread; idempotent

 private:
  AdminServer();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace leadline::monitoring
