#pragma once
// sentencepiece_file: the bytes of a tokenizer.model -> its pieces and options. A bounded reader of the
// protobuf wire format for the fields that change ids (field numbers: the format's public
// sentencepiece_model.proto). Not the tokenizer itself. Thread: pure function.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/errc.h"

namespace leadline::coordinator {

enum class PieceType { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };

struct SentencePiece {
  std::string text;
  float score = 0;
  PieceType type = PieceType::normal;
};

struct SentencePieceFile {
  std::vector<SentencePiece> pieces;  // index = id
  std::int64_t model_type = 1;        // 1 unigram, 2 BPE
  bool byte_fallback = false;
  bool whitespace_as_suffix = false;
  std::int64_t bos_id = 1, eos_id = 2;  // -1: none
  bool add_dummy_prefix = true, remove_extra_whitespaces = true, escape_whitespaces = true;
  bool has_charsmap = false, has_denormalizer = false;
};

// malformed_file names field and offset. Unknown fields are skipped.
Result<SentencePieceFile> parse_sentencepiece_file(std::string_view file);

}  // namespace leadline::coordinator
