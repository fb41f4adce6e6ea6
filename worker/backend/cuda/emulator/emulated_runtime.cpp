#include "worker/backend/cuda/emulator/emulated_runtime.h"

#include <cstdlib>
#include <cstring>

#include "monitoring/check.h"
#include "worker/backend/cuda/emulator/emulated_kernels.h"

namespace leadline::worker::cuda {

EmulatedRuntime::~EmulatedRuntime() {
  for (auto& [memory, bytes] : device_) std::free(const_cast<std::byte*>(memory));
  for (auto& [memory, bytes] : pinned_) std::free(const_cast<std::byte*>(memory));
}

DeviceInfo EmulatedRuntime::info() {
  DeviceInfo info;
  info.name = "emulated";
  info.major = options_.major;
  info.minor = options_.minor;
  info.multiprocessors = options_.multiprocessors;
  info.total_bytes = options_.total_bytes;
  info.free_bytes = options_.total_bytes - live_bytes_;
  info.shared_bytes_per_block = 160 << 10;
  return info;
}

void EmulatedRuntime::note(RecordedCall call) {
  if (keeps_calls_) calls_.push_back(std::move(call));
}

void* EmulatedRuntime::allocate(std::int64_t bytes) {
  if (bytes > options_.total_bytes - live_bytes_) return nullptr;
  auto* memory =
      static_cast<std::byte*>(std::aligned_alloc(256, static_cast<std::size_t>((bytes + 255) / 256 * 256)));
  if (memory == nullptr) return nullptr;
  std::memset(memory, 0xff, static_cast<std::size_t>(bytes));
  device_[memory] = bytes;
  live_bytes_ += bytes;
  return memory;
}

void EmulatedRuntime::release(void* memory) {
  const auto found = device_.find(static_cast<std::byte*>(memory));
  LEADLINE_CHECK(found != device_.end(), "freeing what was not allocated");
  live_bytes_ -= found->second;
  device_.erase(found);
  std::free(memory);
}

void* EmulatedRuntime::allocate_pinned(std::int64_t bytes) {
  auto* memory = static_cast<std::byte*>(std::malloc(static_cast<std::size_t>(bytes + 1)));
  pinned_[memory] = bytes;
  return memory;
}

void EmulatedRuntime::release_pinned(void* memory) {
  LEADLINE_CHECK(pinned_.erase(static_cast<std::byte*>(memory)) == 1, "freeing what was not allocated");
  std::free(memory);
}

void* EmulatedRuntime::make_handle(const char* kind) {
  void* handle = reinterpret_cast<void*>(next_handle_ += 16);
  handles_[handle] = kind;
  return handle;
}

void EmulatedRuntime::drop_handle(void* handle) {
  LEADLINE_CHECK(handles_.erase(handle) == 1, "destroying a handle twice");
}

void EmulatedRuntime::record(EventId event, StreamId stream) {
  note({.what = "record", .stage = {}, .stream = stream, .event = event});
}

void EmulatedRuntime::wait(StreamId stream, EventId event) {
  note({.what = "wait", .stage = {}, .stream = stream, .event = event});
}

void EmulatedRuntime::wait_on_host(EventId event, const char* stage) {
  LEADLINE_CHECK(!capturing_, "waiting on the host while recording");
  note({.what = "wait_on_host", .stage = stage, .event = event});
}

void EmulatedRuntime::synchronize(StreamId stream, const char* stage) {
  LEADLINE_CHECK(!capturing_, "synchronising while recording");
  note({.what = "synchronize", .stage = stage, .stream = stream});
}

void EmulatedRuntime::expect_ours(const void* memory, std::int64_t bytes) const {
  const auto* at = static_cast<const std::byte*>(memory);
  auto next = device_.upper_bound(at);
  LEADLINE_CHECK(next != device_.begin(), "not device memory");
  --next;
  LEADLINE_CHECK(at + bytes <= next->first + next->second, "beyond the device memory that was allocated");
}

void EmulatedRuntime::copy(void* to, const void* from, std::int64_t bytes, Copy direction, StreamId stream) {
  if (direction != Copy::to_host) expect_ours(to, bytes);
  if (direction != Copy::to_device) expect_ours(from, bytes);
  const char* names[] = {"copy to_device", "copy to_host", "copy on_device"};
  note({.what = names[static_cast<int>(direction)],
        .stage = {},
        .stream = stream,
        .event = nullptr,
        .bytes = bytes});
  Work work{Work::Kind::copy};
  work.to = to;
  work.from = from;
  work.bytes = bytes;
  submit(std::move(work));
}

void EmulatedRuntime::fill(void* to, std::uint8_t byte, std::int64_t bytes, StreamId stream) {
  expect_ours(to, bytes);
  note({.what = "fill", .stage = {}, .stream = stream, .event = nullptr, .bytes = bytes});
  Work work{Work::Kind::fill};
  work.to = to;
  work.byte = byte;
  work.bytes = bytes;
  submit(std::move(work));
}

void EmulatedRuntime::launch(const Launch& launch, StreamId stream) {
  const auto* bytes = static_cast<const std::byte*>(launch.args);
  Work work{Work::Kind::launch};
  work.launch = launch;
  work.args.assign(bytes, bytes + launch.args_bytes);
  RecordedCall call;
  call.what = "launch";
  call.stage = launch.stage;
  call.stream = stream;
  call.launch = launch;
  call.args = work.args;
  note(std::move(call));
  LEADLINE_CHECK(launch.grid.x > 0 && launch.grid.x < (std::int64_t{1} << 31) && launch.grid.y > 0 &&
                     launch.grid.y < 65536 && launch.grid.z > 0 && launch.grid.z < 65536,
                 "a grid beyond CUDA's limits");
  LEADLINE_CHECK(launch.shared_bytes <= info().shared_bytes_per_block, "shared memory of a block");
  LEADLINE_CHECK(launch.args_bytes == emulated_kernel(launch.kernel).args_bytes,
                 "arguments of another kernel");
  submit(std::move(work));
}

void EmulatedRuntime::multiply(const Product& product, StreamId stream) {
  RecordedCall call;
  call.what = "multiply";
  call.stage = product.stage;
  call.stream = stream;
  call.product = product;
  note(std::move(call));
  Work work{Work::Kind::product};
  work.product = product;
  submit(std::move(work));
}

bool EmulatedRuntime::multiplies(std::int32_t format) {
  return format == kF32 || format == kBf16 || format == kF16 || (format == kFp8 && options_.major >= 9);
}

void EmulatedRuntime::submit(Work work) {
  if (capturing_)
    captured_.push_back(std::move(work));
  else
    run(work);
}

void EmulatedRuntime::run(const Work& work) {
  switch (work.kind) {
    case Work::Kind::copy:
      std::memmove(work.to, work.from, static_cast<std::size_t>(work.bytes));
      break;
    case Work::Kind::fill:
      std::memset(work.to, work.byte, static_cast<std::size_t>(work.bytes));
      break;
    case Work::Kind::launch:
      if (options_.runs_kernels) run_emulated(work.launch, work.args.data());
      break;
    case Work::Kind::product:
      if (options_.runs_kernels) multiply_emulated(work.product);
      break;
  }
}

void EmulatedRuntime::begin_capture(StreamId stream) {
  LEADLINE_CHECK(!capturing_, "recording twice");
  note({.what = "begin_capture", .stage = {}, .stream = stream});
  capturing_ = true;
  captured_.clear();
}

GraphId EmulatedRuntime::end_capture(StreamId stream) {
  note({.what = "end_capture", .stage = {}, .stream = stream});
  capturing_ = false;
  GraphId graph = make_handle("graph");
  graphs_[graph] = std::move(captured_);
  return graph;
}

void EmulatedRuntime::launch_graph(GraphId graph, StreamId stream) {
  note({.what = "launch_graph", .stage = {}, .stream = stream});
  for (const Work& work : graphs_.at(graph)) run(work);
}

void EmulatedRuntime::destroy_graph(GraphId graph) {
  graphs_.erase(graph);
  drop_handle(graph);
}

}  // namespace leadline::worker::cuda
