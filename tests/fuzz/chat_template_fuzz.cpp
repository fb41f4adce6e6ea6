// Bytes -> chat template -> rendering over a fixed conversation. Must end, within the limits, in a text or an
// error.
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "coordinator/text/chat_template.h"

namespace {

const nlohmann::ordered_json kMessages = nlohmann::ordered_json::parse(R"([
  {"role": "system", "content": " Be brief. "},
  {"role": "user", "content": [{"type": "text", "text": "Hé\n"}, {"type": "image"}]},
  {"role": "assistant", "content": null, "tool_calls": [
    {"id": "abcdefghi", "type": "function", "function": {"name": "f", "arguments": {"a": 1, "b": [1.5, true]}}}]},
  {"role": "tool", "tool_call_id": "abcdefghi", "content": "42"},
  {"role": "assistant", "content": "<think>\nx\n</think>\n\ny"},
  {"role": "user", "content": "ok"}])");
const nlohmann::ordered_json kExtra =
    nlohmann::ordered_json::parse(R"({"tools": [{"type": "function", "function": {
  "name": "f", "description": "d", "parameters": {"type": "object", "properties": {"a": {"type": "integer"},
  "b": {"type": "array", "items": {"type": ["string", "null"]}}}, "required": ["a"]}}}]})");

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using leadline::coordinator::ChatTemplate;
  const std::string_view source(reinterpret_cast<const char*>(data), size);
  const auto begin = std::chrono::steady_clock::now();
  if (const auto parsed = ChatTemplate::parse(source, "<s>", "</s>")) {
    const auto text = (*parsed)->render(kMessages, kExtra, {});
    if (!text && text.error().message.empty()) std::abort();
  } else if (parsed.error().message.empty()) {
    std::abort();
  }
  // Far above what the limits allow, also under a sanitizer on a busy machine.
  if (std::chrono::steady_clock::now() - begin > std::chrono::seconds(60)) std::abort();
  return 0;
}
