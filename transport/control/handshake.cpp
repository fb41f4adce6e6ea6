#include "transport/control/handshake.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <string_view>
#include <vector>

#include "monitoring/check.h"

namespace leadline::transport {

namespace {

bool equal(const Mac& a, const Mac& b) {
  return CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

// Both sides run it, so that each can say why. A worker that has not read its weights has no fingerprint yet.
Result<void> check_agreement(std::uint32_t peer_version, const std::string& demanded,
                             const std::string& has) {
  if (peer_version != kProtocolVersion) {
    return monitoring::fail(Errc::refused, "protocol version " + std::to_string(peer_version) + ", here " +
                                               std::to_string(kProtocolVersion));
  }
  if (!demanded.empty() && !has.empty() && demanded != has) {
    return monitoring::fail(Errc::refused,
                            "model fingerprint: demanded " + demanded + ", the worker has " + has);
  }
  return {};
}

}  // namespace

Nonce random_nonce() {
  Nonce nonce;
  LEADLINE_CHECK(RAND_bytes(nonce.data(), static_cast<int>(nonce.size())) == 1, "random bytes for a nonce");
  return nonce;
}

Mac prove(const std::string& secret, HandshakeRole role, const Nonce& own, const Nonce& peer) {
  const std::string_view label =
      role == HandshakeRole::worker ? "leadline control v1 worker" : "leadline control v1 coordinator";
  std::vector<unsigned char> text(label.begin(), label.end());
  text.insert(text.end(), own.begin(), own.end());
  text.insert(text.end(), peer.begin(), peer.end());
  Mac mac{};
  unsigned int size = 0;
  const auto* made = HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()), text.data(),
                          text.size(), mac.data(), &size);
  LEADLINE_CHECK(made != nullptr && size == mac.size(), "HMAC-SHA256");
  return mac;
}

Result<Welcome> answer_hello(const Hello& hello, Welcome description, const std::string& secret,
                             const Nonce& own) {
  auto agreed =
      check_agreement(hello.protocol_version, hello.model_fingerprint, description.model_fingerprint);
  if (!agreed) return tl::unexpected(std::move(agreed).error());
  description.protocol_version = kProtocolVersion;
  description.nonce = own;
  description.mac = prove(secret, HandshakeRole::worker, own, hello.nonce);
  return description;
}

Result<Confirm> answer_welcome(const Hello& own_hello, const Welcome& welcome, const std::string& secret) {
  // The version first: a newer worker may prove itself in another way.
  auto agreed =
      check_agreement(welcome.protocol_version, own_hello.model_fingerprint, welcome.model_fingerprint);
  if (!agreed) return tl::unexpected(std::move(agreed).error());
  if (!equal(welcome.mac, prove(secret, HandshakeRole::worker, welcome.nonce, own_hello.nonce))) {
    return monitoring::fail(Errc::refused, "the worker did not prove the control secret");
  }
  return Confirm{prove(secret, HandshakeRole::coordinator, own_hello.nonce, welcome.nonce)};
}

Result<void> accept_confirm(const Confirm& confirm, const Hello& hello, const Nonce& own,
                            const std::string& secret) {
  if (equal(confirm.mac, prove(secret, HandshakeRole::coordinator, hello.nonce, own))) return {};
  return monitoring::fail(Errc::refused, "the coordinator did not prove the control secret");
}

}  // namespace leadline::transport
