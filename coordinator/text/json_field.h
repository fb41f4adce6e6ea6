#pragma once
// JsonField: a value in a tokenizer file together with its path, so that every refusal names field and value.
// Not a schema. Thread: a view; the document outlives it.

#include <cstdint>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "coordinator/errc.h"

namespace leadline::coordinator {

class JsonField {
 public:
  JsonField(const nlohmann::json& value, std::string path) : value_(&value), path_(std::move(path)) {}

  const nlohmann::json& value() const { return *value_; }
  const std::string& path() const { return path_; }
  bool null() const { return value_->is_null(); }
  // Null when absent.
  JsonField at(const char* key) const;
  JsonField at(std::size_t index) const;
  std::size_t size() const { return value_->size(); }
  bool has(const char* key) const { return value_->is_object() && value_->contains(key); }

  // Absent or null gives `otherwise`; another type is malformed_file.
  Result<bool> boolean(const char* key, bool otherwise) const;
  Result<std::string> string(const char* key, const char* otherwise = nullptr) const;  // no default: required
  Result<std::int64_t> integer(const char* key, std::int64_t low, std::int64_t high) const;

  tl::unexpected<Error> malformed(const std::string& wanted) const;  // "path: wanted, not value"
  tl::unexpected<Error> unsupported() const;                         // "path: value is not supported"

 private:
  std::string shown() const;

  const nlohmann::json* value_;
  std::string path_;
};

}  // namespace leadline::coordinator
