#pragma once
// Bounded JSON from outside (config.json, index, safetensors header) and typed, range-checked reading of its
// fields. Not a general JSON layer: nothing is written. Every error names the file, the field and the value.
// Thread: values. Invariants: no exception leaves; at most `limit` bytes are read; nesting is at most
// kMaxJsonDepth.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "worker/errc.h"

namespace leadline::worker {

inline constexpr int kMaxJsonDepth = 16;

// The whole file, at most `limit` bytes. not_found when there is none, io or malformed_file otherwise.
Result<std::string> read_small_file(const std::string& path, std::int64_t limit);

// A JSON object. `name` stands in errors. malformed_file when the text is not JSON, too deep, or not an
// object.
Result<nlohmann::json> parse_json_object(std::string_view text, const std::string& name);

// At most 80 characters of a value, for messages.
std::string brief(const nlohmann::json& value);

// Reads fields of one object; the first failure is kept and later reads return their fallback, so that a
// caller reads all its fields and asks once. The object and the name outlive the reader.
class FieldReader {
 public:
  FieldReader(const nlohmann::json& object, std::string name) : object_(object), name_(std::move(name)) {}

  [[nodiscard]] bool has(const char* field) const;      // present and not null
  [[nodiscard]] bool is_null(const char* field) const;  // present and null
  // In [least, most]; without fallback the field is required.
  std::int64_t integer(const char* field, std::int64_t least, std::int64_t most,
                       std::optional<std::int64_t> fallback = std::nullopt);
  // Finite, in (above, most].
  double number(const char* field, double above, double most, std::optional<double> fallback = std::nullopt);
  bool flag(const char* field, bool fallback);
  std::string text(const char* field, std::optional<std::string> fallback = std::nullopt);
  // The value, or null when the field is absent.
  [[nodiscard]] const nlohmann::json& raw(const char* field) const;

  // Records that `field` holds what is not supported (or is malformed), unless there is an error already.
  void refuse(const char* field, const std::string& why, Errc code = Errc::unsupported_model);

  [[nodiscard]] const std::optional<Error>& error() const { return error_; }

 private:
  const nlohmann::json& object_;
  std::string name_;
  std::optional<Error> error_;
};

}  // namespace leadline::worker
