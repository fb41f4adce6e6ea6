#pragma once
// ByteWriter, ByteReader: little-endian fields of this directory's files, and whole files in and out. Not a
// format: each file's own header says what follows what. Reading never passes the end: the first field that
// would makes every later one 0, and ok() says so. Thread: values.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "policy/errc.h"

namespace leadline::policy {

static_assert(std::endian::native == std::endian::little, "fields are copied as they lie");

class ByteWriter {
 public:
  template <typename T>
  void put(T value) {
    static_assert(std::is_arithmetic_v<T>);
    put_all(std::span<const T>(&value, 1));
  }
  template <typename T>
  void put_all(std::span<const T> values) {
    static_assert(std::is_trivially_copyable_v<T>);
    const auto* first = reinterpret_cast<const std::byte*>(values.data());
    bytes_.insert(bytes_.end(), first, first + values.size_bytes());
  }
  void put_text(std::string_view text) {  // u32 length, bytes
    put(static_cast<std::uint32_t>(text.size()));
    put_all(std::span<const char>(text.data(), text.size()));
  }
  [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : rest_(bytes), size_(bytes.size()) {}
  template <typename T>
  T get() {
    T value{};
    get_all(std::span<T>(&value, 1));
    return value;
  }
  template <typename T>
  void get_all(std::span<T> values) {
    static_assert(std::is_trivially_copyable_v<T>);
    if (!ok_ || rest_.size() < values.size_bytes()) {
      ok_ = false;
      return;
    }
    if (!values.empty()) std::memcpy(values.data(), rest_.data(), values.size_bytes());
    rest_ = rest_.subspan(values.size_bytes());
  }
  // `count` values, allocated only if they are there.
  template <typename T>
  std::vector<T> get_vector(std::size_t count) {
    if (!ok_ || count > rest_.size() / sizeof(T)) {
      ok_ = false;
      return {};
    }
    std::vector<T> values(count);
    get_all(std::span<T>(values));
    return values;
  }
  std::string get_text(std::size_t limit) {
    const std::size_t length = get<std::uint32_t>();
    if (length > limit) ok_ = false;
    const std::vector<char> text = get_vector<char>(ok_ ? length : 0);
    return {text.begin(), text.end()};
  }
  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] std::size_t offset() const { return size_ - rest_.size(); }
  [[nodiscard]] std::span<const std::byte> rest() const { return rest_; }

 private:
  std::span<const std::byte> rest_;
  std::size_t size_;
  bool ok_ = true;
};

// The whole file; too_large beyond `limit` bytes.
Result<std::vector<std::byte>> read_file(const std::string& path, std::size_t limit);
// To a new file beside it, then renamed: readers see the old or the new one, never half.
Result<void> write_file(const std::string& path, std::span<const std::byte> bytes);

}  // namespace leadline::policy
