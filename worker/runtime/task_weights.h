#pragma once
// task_weights: the file window_task.safetensors of a checkpoint, as a TaskClassifier.
// docs/formats/window_task.md has the form. Not the decision. Thread: pure but for reading the file.
// Invariant: weights are used only with the vocabulary that they were trained on: its hash is in the file.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "worker/compression/task_classifier.h"
#include "worker/errc.h"

namespace leadline::worker {

// FNV-1a, 64 bits, of every string closed by a zero byte.
std::uint64_t vocabulary_hash(std::span<const std::string> tokens);

// `tokens`: the vocabulary's strings as in tokenizer.json. not_found: no such file; malformed_file names
// tensor and value, or says that the vocabulary is another.
Result<TaskClassifier> read_task_weights(const std::string& model_directory,
                                         std::span<const std::string> tokens);
Result<TaskClassifier> task_weights_of(std::span<const std::byte> file, std::span<const std::string> tokens);

}  // namespace leadline::worker
