#pragma once
// token_strings: the vocabulary's strings by id, for what looks at text through token ids (delimiters). Not a
// tokenizer: nothing is encoded. Thread: pure. Invariants: at most `vocab` strings; ids without a string, and
// special tokens, are "".

#include <cstdint>
#include <string>
#include <vector>

#include "worker/errc.h"

namespace leadline::worker {

// From tokenizer.json of a checkpoint: model.vocab as an object (BPE) or a list (Unigram). not_found when
// there is no such file, malformed_file with the field otherwise.
Result<std::vector<std::string>> token_strings(const std::string& model_directory, std::size_t vocab);
Result<std::vector<std::string>> token_strings_of(std::string_view tokenizer_json, std::size_t vocab);

}  // namespace leadline::worker
