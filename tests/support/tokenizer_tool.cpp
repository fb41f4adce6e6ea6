// tokenizer_tool: the tokenizer over pipes, for the Python comparisons. One JSON line in, one out.
//   {"encode": "text", "special": true} -> [ids]      {"decode": [ids], "skip": true} -> {"text": "..."}
//   {"stream": [ids], "skip": true} -> {"hex": "..."}  append_bytes of every id
// Usage: tokenizer_tool <model directory>

#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "coordinator/text/tokenizer.h"

using leadline::coordinator::TokenId;
using leadline::coordinator::Tokenizer;
using nlohmann::json;

namespace {

std::string to_hex(const std::string& bytes) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  for (unsigned char c : bytes) {
    out.push_back(kHex[c >> 4]);
    out.push_back(kHex[c & 15]);
  }
  return out;
}

json answer(const Tokenizer& tokenizer, const json& question) {
  if (question.contains("encode")) {
    auto ids = tokenizer.encode(question["encode"].get<std::string>(), question.value("special", false));
    return ids ? json(*ids) : json{{"error", ids.error().message}};
  }
  const bool skip = question.value("skip", false);
  if (question.contains("decode")) {
    const auto ids = question["decode"].get<std::vector<TokenId>>();
    return {{"text", tokenizer.decode(ids, skip)}};
  }
  std::string bytes;
  for (const TokenId id : question.at("stream").get<std::vector<TokenId>>())
    tokenizer.append_bytes(id, skip, bytes);
  return {{"hex", to_hex(bytes)}};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: tokenizer_tool <model directory>\n";
    return 2;
  }
  auto tokenizer = Tokenizer::load(argv[1]);
  if (!tokenizer) {
    std::cerr << tokenizer.error().message << "\n";
    return 1;
  }
  std::ios::sync_with_stdio(false);
  for (std::string line; std::getline(std::cin, line);) {
    std::cout << answer(**tokenizer, json::parse(line)).dump(-1, ' ', true) << "\n";
  }
  return 0;
}
