#include "coordinator/http/api_keys.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sys/stat.h>

#include <cstdio>
#include <fstream>
#include <sstream>

namespace leadline::coordinator {

namespace {

constexpr std::size_t kMinKeyBytes = 8, kMaxKeyBytes = 512, kMaxKeys = 10'000;

Digest sha256(std::string_view text) {
  Digest out{};
  unsigned size = 0;
  EVP_Digest(text.data(), text.size(), out.data(), &size, EVP_sha256(), nullptr);
  return out;
}

Digest tenant_salt(const std::string& secret, const std::string& name) {
  Digest out{};
  unsigned size = 0;
  HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
       reinterpret_cast<const unsigned char*>(name.data()), name.size(), out.data(), &size);
  return out;
}

std::string hex(const Digest& digest, std::size_t bytes) {
  std::string out;
  for (std::size_t i = 0; i < bytes; ++i) {
    char text[3];
    std::snprintf(text, sizeof text, "%02x", digest[i]);
    out += text;
  }
  return out;
}

std::string_view trimmed(std::string_view text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

std::string stamp_of(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return "none";
  return std::to_string(info.st_mtim.tv_sec) + "." + std::to_string(info.st_mtim.tv_nsec) + "/" +
         std::to_string(info.st_ino) + "/" + std::to_string(info.st_size);
}

Result<std::string> read_file(const std::string& path) {
  std::ifstream in(path);
  if (!in) return fail(Errc::io, "--api-key-file " + path + " cannot be read");
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

}  // namespace

Result<std::vector<ApiKeys::Key>> ApiKeys::read(std::string_view text, const std::string& secret) {
  std::vector<Key> keys;
  std::size_t number = 0;
  while (!text.empty()) {
    ++number;
    const std::size_t end = text.find('\n');
    const std::string_view line = trimmed(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.empty() || line.front() == '#') continue;
    const std::size_t colon = line.find(':');
    const std::string_view key = trimmed(colon == std::string_view::npos ? line : line.substr(colon + 1));
    const std::string where = "line " + std::to_string(number) + " of the API key file";
    if (key.size() < kMinKeyBytes || key.size() > kMaxKeyBytes ||
        key.find_first_of(" \t") != std::string_view::npos) {
      return fail(Errc::configuration, where + ": a key has 8 to 512 characters and no blanks");
    }
    if (keys.size() == kMaxKeys) return fail(Errc::configuration, where + ": more than 10000 keys");
    Key entry;
    entry.digest = sha256(key);
    // A key without a name is a tenant of its own, named after its digest so that reordering lines changes
    // nothing.
    entry.tenant.name = colon == std::string_view::npos ? "key-" + hex(entry.digest, 8)
                                                        : std::string(trimmed(line.substr(0, colon)));
    if (entry.tenant.name.empty())
      return fail(Errc::configuration, where + ": the name before the colon is empty");
    entry.tenant.salt = tenant_salt(secret, entry.tenant.name);
    keys.push_back(std::move(entry));
  }
  if (keys.empty()) return fail(Errc::configuration, "the API key file holds no key");
  return keys;
}

Result<std::unique_ptr<ApiKeys>> ApiKeys::parse(std::string_view text, std::string cluster_secret) {
  auto keys = read(text, cluster_secret);
  if (!keys) return tl::unexpected(keys.error());
  auto out = std::make_unique<ApiKeys>();
  out->secret_ = std::move(cluster_secret);
  out->keys_ = std::move(*keys);
  return out;
}

Result<std::unique_ptr<ApiKeys>> ApiKeys::load(std::string path, std::string cluster_secret) {
  const std::string stamp = stamp_of(path);
  auto text = read_file(path);
  if (!text) return tl::unexpected(text.error());
  auto out = parse(*text, std::move(cluster_secret));
  if (!out) return out;
  (*out)->path_ = std::move(path);
  (*out)->stamp_ = stamp;
  return out;
}

Result<bool> ApiKeys::reload_if_changed(bool force) {
  if (path_.empty()) return false;
  const std::string stamp = stamp_of(path_);
  if (!force && stamp == stamp_) return false;
  stamp_ = stamp;
  auto text = read_file(path_);
  if (!text) return tl::unexpected(text.error());
  auto keys = read(*text, secret_);
  if (!keys) return tl::unexpected(keys.error());
  keys_ = std::move(*keys);
  return true;
}

std::optional<Tenant> ApiKeys::authenticate(std::string_view authorization) const {
  constexpr std::string_view kScheme = "bearer ";
  if (authorization.size() <= kScheme.size()) return std::nullopt;
  for (std::size_t i = 0; i < kScheme.size(); ++i) {
    const char c = authorization[i];
    if ((c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c) != kScheme[i]) return std::nullopt;
  }
  // Digests have one length, and none is skipped: time says nothing about which key was close.
  const Digest given = sha256(trimmed(authorization.substr(kScheme.size())));
  const Key* match = nullptr;
  for (const Key& key : keys_) {
    if (CRYPTO_memcmp(key.digest.data(), given.data(), given.size()) == 0) match = &key;
  }
  if (match == nullptr) return std::nullopt;
  return match->tenant;
}

}  // namespace leadline::coordinator
