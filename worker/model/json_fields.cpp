#include "worker/model/json_fields.h"

#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>

namespace leadline::worker {

using nlohmann::json;

Result<std::string> read_small_file(const std::string& path, std::int64_t limit) {
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), &std::fclose);
  if (!file) {
    const Errc code = errno == ENOENT || errno == ENOTDIR ? Errc::not_found : Errc::io;
    return monitoring::fail(code, path + ": " + std::strerror(errno));
  }
  std::string text;
  char chunk[16384];
  while (const std::size_t n = std::fread(chunk, 1, sizeof chunk, file.get())) {
    text.append(chunk, n);
    if (static_cast<std::int64_t>(text.size()) > limit)
      return monitoring::fail(Errc::malformed_file, path + ": more than " + std::to_string(limit) + " bytes");
  }
  if (std::ferror(file.get())) return monitoring::fail(Errc::io, path + ": read failed");
  return text;
}

Result<json> parse_json_object(std::string_view text, const std::string& name) {
  bool too_deep = false;
  const auto watch_depth = [&](int depth, json::parse_event_t, json&) {
    too_deep = too_deep || depth > kMaxJsonDepth;
    return !too_deep;  // what is too deep is dropped while parsing, so memory stays bounded
  };
  json value = json::parse(text.begin(), text.end(), watch_depth, /*allow_exceptions=*/false);
  if (too_deep)
    return monitoring::fail(Errc::malformed_file,
                            name + ": nested deeper than " + std::to_string(kMaxJsonDepth));
  if (value.is_discarded()) return monitoring::fail(Errc::malformed_file, name + ": not valid JSON");
  if (!value.is_object()) return monitoring::fail(Errc::malformed_file, name + ": not a JSON object");
  return value;
}

std::string brief(const json& value) {
  std::string text = value.dump(-1, ' ', /*ensure_ascii=*/true, json::error_handler_t::replace);
  if (text.size() > 80) text = text.substr(0, 77) + "...";
  return text;
}

bool FieldReader::has(const char* field) const {
  return !raw(field).is_null();
}

bool FieldReader::is_null(const char* field) const {
  const auto found = object_.find(field);
  return found != object_.end() && found->is_null();
}

const json& FieldReader::raw(const char* field) const {
  static const json kNull;
  const auto found = object_.find(field);
  return found == object_.end() ? kNull : *found;
}

void FieldReader::refuse(const char* field, const std::string& why, Errc code) {
  if (error_) return;
  const json& value = raw(field);
  error_ = Error{code, name_ + ": " + field + (value.is_null() ? "" : " = " + brief(value)) + ": " + why};
}

std::int64_t FieldReader::integer(const char* field, std::int64_t least, std::int64_t most,
                                  std::optional<std::int64_t> fallback) {
  const json& value = raw(field);
  const std::int64_t otherwise = fallback.value_or(least);
  if (value.is_null()) {
    if (!fallback) refuse(field, "missing", Errc::malformed_file);
    return otherwise;
  }
  // Unsigned values above int64's range would wrap in get<int64_t>.
  const bool fits = value.is_number_unsigned()
                        ? value.get<std::uint64_t>() <= static_cast<std::uint64_t>(INT64_MAX)
                        : value.is_number_integer();
  if (!fits || value.get<std::int64_t>() < least || value.get<std::int64_t>() > most) {
    refuse(field, "not an integer from " + std::to_string(least) + " to " + std::to_string(most),
           Errc::malformed_file);
    return otherwise;
  }
  return value.get<std::int64_t>();
}

double FieldReader::number(const char* field, double above, double most, std::optional<double> fallback) {
  const json& value = raw(field);
  const double otherwise = fallback.value_or(most);
  if (value.is_null()) {
    if (!fallback) refuse(field, "missing", Errc::malformed_file);
    return otherwise;
  }
  const double number = value.is_number() ? value.get<double>() : std::nan("");
  if (!(number > above && number <= most)) {
    char range[96];
    std::snprintf(range, sizeof range, "not a number above %g and up to %g", above, most);
    refuse(field, range, Errc::malformed_file);
    return otherwise;
  }
  return number;
}

bool FieldReader::flag(const char* field, bool fallback) {
  const json& value = raw(field);
  if (value.is_null()) return fallback;
  if (!value.is_boolean()) {
    refuse(field, "not true or false", Errc::malformed_file);
    return fallback;
  }
  return value.get<bool>();
}

std::string FieldReader::text(const char* field, std::optional<std::string> fallback) {
  const json& value = raw(field);
  if (value.is_null()) {
    if (!fallback) refuse(field, "missing", Errc::malformed_file);
    return fallback.value_or("");
  }
  if (!value.is_string()) {
    refuse(field, "not a string", Errc::malformed_file);
    return fallback.value_or("");
  }
  return value.get<std::string>();
}

}  // namespace leadline::worker
