#include "deploy/cli/addresses.h"

#include <netdb.h>

#include <memory>

namespace leadline::deploy {

Result<std::set<std::string>> addresses_of(const Url& url) {
  addrinfo hints{}, *list = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  if (const int status = getaddrinfo(url.host.c_str(), url.port.c_str(), &hints, &list); status != 0)
    return fail(Errc::io, url.host + ": " + gai_strerror(status));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(list, freeaddrinfo);
  std::set<std::string> found;
  for (const addrinfo* each = list; each != nullptr; each = each->ai_next) {
    char text[NI_MAXHOST];
    if (getnameinfo(each->ai_addr, each->ai_addrlen, text, sizeof text, nullptr, 0, NI_NUMERICHOST) == 0)
      found.insert(text);
  }
  return found;
}

}  // namespace leadline::deploy
