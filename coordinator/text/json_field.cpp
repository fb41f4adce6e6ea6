#include "coordinator/text/json_field.h"

namespace leadline::coordinator {
namespace {

const nlohmann::json kNull;
constexpr std::size_t kShownBytes = 200;

}  // namespace

JsonField JsonField::at(const char* key) const {
  if (!value_->is_object()) return {kNull, path_ + "." + key};
  const auto found = value_->find(key);
  return {found == value_->end() ? kNull : *found, path_.empty() ? key : path_ + "." + key};
}

JsonField JsonField::at(std::size_t index) const {
  return {(*value_)[index], path_ + "[" + std::to_string(index) + "]"};
}

std::string JsonField::shown() const {
  std::string text = value_->is_object() && value_->contains("type") ? (*value_)["type"].dump(-1, ' ', true)
                     : value_->is_structured() && value_->size() > 16
                         ? std::string(value_->type_name()) + " of " + std::to_string(value_->size())
                         : value_->dump(-1, ' ', true);
  if (text.size() > kShownBytes) text = text.substr(0, kShownBytes) + "...";
  return text;
}

tl::unexpected<Error> JsonField::malformed(const std::string& wanted) const {
  return fail(Errc::malformed_file, path_ + ": " + wanted + ", not " + shown());
}

tl::unexpected<Error> JsonField::unsupported() const {
  return fail(Errc::unsupported, path_ + ": " + shown() + " is not supported");
}

Result<bool> JsonField::boolean(const char* key, bool otherwise) const {
  const JsonField field = at(key);
  if (field.null()) return otherwise;
  if (!field.value().is_boolean()) return field.malformed("true or false");
  return field.value().get<bool>();
}

Result<std::string> JsonField::string(const char* key, const char* otherwise) const {
  const JsonField field = at(key);
  if (field.null() && otherwise != nullptr) return std::string(otherwise);
  if (!field.value().is_string()) return field.malformed("a string");
  return field.value().get<std::string>();
}

Result<std::int64_t> JsonField::integer(const char* key, std::int64_t low, std::int64_t high) const {
  const JsonField field = at(key);
  const bool large = field.value().is_number_unsigned() && field.value().get<std::uint64_t>() > INT64_MAX;
  if (!field.value().is_number_integer() || large || field.value().get<std::int64_t>() < low ||
      field.value().get<std::int64_t>() > high) {
    return field.malformed("an integer from " + std::to_string(low) + " to " + std::to_string(high));
  }
  return field.value().get<std::int64_t>();
}

}  // namespace leadline::coordinator
