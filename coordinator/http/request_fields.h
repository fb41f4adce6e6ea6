#pragma once
// request_fields: typed access to the members of a client's JSON object with ranges, and the tables of fields
// that are refused or ignored. Not the meaning of the fields: that is completion_request. Thread: pure;
// FieldReader: one owner. Invariant: the first fault wins and names its field.

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/errc.h"
#include "transport/control/ids.h"

namespace leadline::coordinator {

class FieldReader {
 public:
  explicit FieldReader(const nlohmann::json& object) : object_(object) {}

  // The member, or null when absent or JSON null; remembers the name as known.
  const nlohmann::json* find(const char* name);
  // Each leaves `out` alone when the member is absent; a wrong type or range is the fault.
  void boolean(const char* name, bool& out);
  void number(const char* name, float& out, double low, double high, bool low_open = false,
              bool high_open = false);
  template <typename T>
  void integer(const char* name, T& out, std::int64_t low, std::int64_t high) {
    if (const auto value = integer_in(name, low, high)) out = static_cast<T>(*value);
  }
  std::optional<std::int64_t> integer_in(const char* name, std::int64_t low, std::int64_t high);
  void text(const char* name, std::string& out, std::size_t max_bytes);
  void token_ids(const char* name, std::vector<transport::TokenId>& out, std::size_t max_count,
                 std::uint32_t vocab);

  void reject(std::string name, std::string message, Errc code = Errc::invalid_request);
  bool ok() const { return !fault_; }
  const Error& fault() const { return *fault_; }

  // Fields of the "not built" table whose value would change the answer become the fault; all other names
  // that nobody asked for are returned, to be named in the response header.
  std::vector<std::string> finish();

 private:
  const nlohmann::json& object_;
  std::vector<std::string_view> known_;
  std::optional<Error> fault_;
};

// A JSON array of token ids in [0, vocab); the error names the field and index.
Result<std::vector<transport::TokenId>> read_token_ids(const nlohmann::json& array, const std::string& name,
                                                       std::size_t max_count, std::uint32_t vocab);

// For messages: a client's value cut to a printable few bytes.
std::string show_value(const nlohmann::json& value);

}  // namespace leadline::coordinator
