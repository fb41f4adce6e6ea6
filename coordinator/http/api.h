#pragma once
// Api: method and path -> handler: the complete public surface in one table. Keys are checked here, on the
// matched route, and a path that matches none needs a key too: nothing is open unless its line says so.
// Thread: the I/O thread.

#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "coordinator/http/http_message.h"
#include "coordinator/services.h"

namespace leadline::coordinator {

inline constexpr std::string_view kModelsPrefix = "/v1/models/";

struct Route {
  std::string_view method;
  std::string_view path;   // a trailing '*' matches the non-empty rest
  bool open = false;       // true: no key needed
  bool json_body = false;  // Content-Type must be JSON
  void (*handle)(Services&, std::shared_ptr<Exchange>, const Tenant&);
  std::string_view summary;  // for the OpenAPI document
  bool console = false;      // a file of the web console: absent with --no-console, not in the document
};

std::span<const Route> routes();

class Api {
 public:
  explicit Api(Services& services) : services_(services) {}

  // With the head alone: 401, 404, 405 (with Allow), 415; OPTIONS is answered here. nullopt: read the body
  // and call handle().
  std::optional<HttpResponse> check_head(const HttpRequest& request) const;
  void handle(std::shared_ptr<Exchange> exchange) const;

 private:
  struct Match {
    const Route* route = nullptr;
    std::string allow;  // methods of the path's routes; empty: the path is unknown
  };
  Match match(const HttpRequest& request) const;
  std::optional<Tenant> tenant_of(const HttpRequest& request) const;
  Services& services_;
};

}  // namespace leadline::coordinator
