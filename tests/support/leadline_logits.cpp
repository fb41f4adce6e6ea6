// leadline-logits: logits or greedy tokens of a checkpoint, for comparing the engine with other
// implementations. Not a server. Reads token ids, one sequence per line, from standard input.
//
//   leadline-logits --model DIR [--weights auto] [--kv f32] [--ranks 1] [--isa avx2] [--chunk 16] logits OUT
//       OUT: raw f32, for every token of every sequence one row of `vocab` logits
//   leadline-logits --model DIR ... greedy N
//       prints N greedy tokens per sequence; stops at eos with --eos

#include <cstdio>
#include <cstring>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/model_replica.h"

namespace {

using leadline::tests::ModelReplica;
using leadline::tests::ReplicaOptions;
using leadline::worker::DType;

struct Flags {
  ReplicaOptions replica;
  std::int32_t chunk = 16;
  bool stop_at_eos = false;
  std::string command, argument;
};

bool parse_flags(int argc, char** argv, Flags& flags) {
  int at = 1;
  for (; at < argc && std::strncmp(argv[at], "--", 2) == 0; ++at) {
    const std::string name = argv[at];
    if (name == "--eos") {
      flags.stop_at_eos = true;
      continue;
    }
    if (++at == argc) return false;
    const std::string value = argv[at];
    if (name == "--model")
      flags.replica.model_directory = value;
    else if (name == "--weights")
      flags.replica.weights = value;
    else if (name == "--ranks")
      flags.replica.ranks = std::stoi(value);
    else if (name == "--isa")
      flags.replica.isa = value;
    else if (name == "--threads")
      flags.replica.threads = std::stoi(value);
    else if (name == "--chunk")
      flags.chunk = std::stoi(value);
    else if (name == "--kv")
      flags.replica.kv_dtype = value == "bf16"   ? DType::bf16
                               : value == "f16"  ? DType::f16
                               : value == "int8" ? DType::i8
                                                 : DType::f32;
    else
      return false;
  }
  if (at + 2 != argc || flags.replica.model_directory.empty()) return false;
  flags.command = argv[at];
  flags.argument = argv[at + 1];
  return flags.command == "logits" || flags.command == "greedy";
}

int write_logits(ModelReplica& replica, const std::vector<std::vector<std::int32_t>>& sequences,
                 const Flags& flags) {
  std::FILE* out = std::fopen(flags.argument.c_str(), "wb");
  if (out == nullptr) return 1;
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    for (const auto& row : replica.run(i, sequences[i], flags.chunk, true))
      std::fwrite(row.data(), sizeof(float), row.size(), out);
    replica.forget(i);
  }
  return std::fclose(out) == 0 ? 0 : 1;
}

void print_greedy(ModelReplica& replica, const std::vector<std::vector<std::int32_t>>& sequences,
                  const Flags& flags) {
  const int wanted = std::stoi(flags.argument);
  const auto& eos = replica.config().eos_ids;
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    std::vector<float> logits = replica.run(i, sequences[i], flags.chunk, false).back();
    for (int n = 0; n < wanted; ++n) {
      const std::int32_t token = leadline::tests::argmax(logits);
      std::cout << (n ? " " : "") << token;
      if (flags.stop_at_eos && std::count(eos.begin(), eos.end(), token) > 0) break;
      if (n + 1 < wanted) logits = replica.step({{i, {token}, false}}).back();
    }
    std::cout << '\n';
    replica.forget(i);
  }
}

}  // namespace

int main(int argc, char** argv) {
  Flags flags;
  if (!parse_flags(argc, argv, flags)) {
    std::fprintf(
        stderr,
        "usage: leadline-logits --model DIR [--weights W --kv T --ranks N --isa I --threads N --chunk N "
        "--eos] logits OUT | greedy N   (token ids on standard input)\n");
    return 2;
  }
  std::vector<std::vector<std::int32_t>> sequences;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream in(line);
    sequences.emplace_back();
    for (std::int32_t id; in >> id;) sequences.back().push_back(id);
  }
  flags.replica.max_rows = std::max(flags.chunk, 1);
  auto replica = ModelReplica::start(flags.replica);
  if (!replica) {
    std::fprintf(stderr, "%s\n", replica.error().message.c_str());
    return 1;
  }
  std::fprintf(stderr, "fingerprint %s\n", (*replica)->fingerprint().c_str());
  if (flags.command == "logits") return write_logits(**replica, sequences, flags);
  print_greedy(**replica, sequences, flags);
  return 0;
}
