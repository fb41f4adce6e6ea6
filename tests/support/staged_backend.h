#pragma once
// StagedBackend: a Backend whose ops take host memory, over a device's: every argument is sent, every result
// fetched. For tests that are written against host memory; says nothing about speed. Thread: as the backend.
// Slot biases are sent with as many slots as the sequence has before the step.

#include <memory>
#include <vector>

#include "worker/backend/backend.h"

namespace leadline::tests {

std::unique_ptr<worker::Backend> make_staged(std::unique_ptr<worker::Backend> device);

}  // namespace leadline::tests
