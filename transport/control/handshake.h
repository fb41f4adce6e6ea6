#pragma once
// The control handshake's decisions, as pure functions: who proves what, and what is refused. No I/O:
// control_server and control_client send the messages. Order: Hello (coordinator), Welcome (worker), Confirm
// (coordinator). Both prove the secret by HMAC-SHA256 over role and both nonces, so neither an answer nor a
// link can be replayed, and a worker's proof can't be reflected. The link itself is not encrypted
// (docs/formats/wire.md). Thread: pure; random_nonce from any thread.

#include <array>
#include <cstdint>
#include <string>

#include "transport/control/messages.h"
#include "transport/errc.h"

namespace leadline::transport {

using Nonce = std::array<std::uint8_t, 32>;
using Mac = std::array<std::uint8_t, 32>;
enum class HandshakeRole : std::uint8_t { worker, coordinator };

Nonce random_nonce();
Mac prove(const std::string& secret, HandshakeRole role, const Nonce& own, const Nonce& peer);

// Worker: the Welcome that answers `hello`, made from its own `description`; refused: version or fingerprint.
Result<Welcome> answer_hello(const Hello& hello, Welcome description, const std::string& secret,
                             const Nonce& own);
// Coordinator: the Confirm that answers `welcome`; refused: the worker's proof, version or fingerprint.
Result<Confirm> answer_welcome(const Hello& own_hello, const Welcome& welcome, const std::string& secret);
// Worker: refused when the coordinator did not prove the secret.
Result<void> accept_confirm(const Confirm& confirm, const Hello& hello, const Nonce& own,
                            const std::string& secret);

}  // namespace leadline::transport
