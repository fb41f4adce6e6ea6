#pragma once
// Runtime: the thin seam between the backend and a device: memory, streams, events, graphs, launches,
// products. Not a wrapper of CUDA's whole API: what the backend calls, no more. Implementations:
// device_runtime (CUDA, cuBLASLt) and emulator/emulated_runtime (host memory; records every call and runs the
// kernels as fibers).
//
// Thread: one owner. Errors: out of memory is a value; any other error of the device is a broken invariant or
// broken hardware: the process ends with the name of the stage, because a CUDA context cannot be used after
// one.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "worker/backend/cuda/kernel_args.h"
#include "worker/backend/cuda/kernel_list.h"
#include "worker/errc.h"

namespace leadline::worker::cuda {

struct DeviceInfo {
  std::string name;
  int major = 0, minor = 0;  // compute capability
  int multiprocessors = 0;
  std::int64_t total_bytes = 0, free_bytes = 0;
  std::int64_t shared_bytes_per_block = 48 << 10;  // with the opt-in
};

// Opaque handles; null = none.
using StreamId = void*;
using EventId = void*;
using GraphId = void*;

enum class Copy { to_device, to_host, on_device };

struct Grid {
  std::int64_t x = 1, y = 1, z = 1;
};

struct Launch {
  KernelId kernel = KernelId::count;
  Grid grid;
  std::int64_t shared_bytes = 0;
  const void* args = nullptr;  // the kernel's struct
  std::size_t args_bytes = 0;
  const char* stage = "";  // for errors and traces
};

// Which of the two arithmetics of a product (X2): the kernel and its cuts are fixed for all row counts of a
// class.
enum class ProductClass : std::int32_t { prefill = 0, decode = 1 };

// out (slices, rows, n) f32 = x (slices, rows, k) * w (slices, n, k)^T, f32 sums; `out` rows are out_stride
// apart and slices rows * out_stride. x and w are dense in `format` (f32, bf16, f16, fp8).
struct Product {
  std::int64_t rows = 0, n = 0, k = 0, slices = 1;
  const void* x = nullptr;
  const void* w = nullptr;
  float* out = nullptr;
  std::int64_t out_stride = 0;
  std::int32_t format = kF32;
  ProductClass product_class = ProductClass::prefill;
  const char* stage = "";
};

class Runtime {
 public:
  virtual ~Runtime() = default;
  [[nodiscard]] virtual DeviceInfo info() = 0;
  [[nodiscard]] virtual bool emulated() const = 0;

  // Null when there is no room. Device memory is aligned to 256 bytes, not cleared.
  virtual void* allocate(std::int64_t bytes) = 0;
  virtual void release(void* memory) = 0;
  virtual void* allocate_pinned(std::int64_t bytes) = 0;
  virtual void release_pinned(void* memory) = 0;

  virtual StreamId make_stream() = 0;
  virtual void destroy_stream(StreamId stream) = 0;
  virtual EventId make_event() = 0;
  virtual void destroy_event(EventId event) = 0;
  virtual void record(EventId event, StreamId stream) = 0;
  virtual void wait(StreamId stream, EventId event) = 0;  // later work of `stream` waits; the host does not
  virtual void wait_on_host(EventId event, const char* stage) = 0;
  virtual void synchronize(StreamId stream, const char* stage) = 0;

  // Asynchronous where host memory is pinned.
  virtual void copy(void* to, const void* from, std::int64_t bytes, Copy direction, StreamId stream) = 0;
  virtual void fill(void* to, std::uint8_t byte, std::int64_t bytes, StreamId stream) = 0;
  virtual void launch(const Launch& launch, StreamId stream) = 0;
  virtual void multiply(const Product& product, StreamId stream) = 0;
  // Whether products of this format run on this chip.
  [[nodiscard]] virtual bool multiplies(std::int32_t format) = 0;

  // Between the two, work of `stream` is recorded, not run. end_capture: null when it could not be recorded.
  virtual void begin_capture(StreamId stream) = 0;
  virtual GraphId end_capture(StreamId stream) = 0;
  virtual void launch_graph(GraphId graph, StreamId stream) = 0;
  virtual void destroy_graph(GraphId graph) = 0;
};

// The CUDA device `index` of this machine; configuration when there is none, with what CUDA says. (Only in
// builds with the toolkit.)
Result<std::unique_ptr<Runtime>> open_device(int index);
int visible_devices();

}  // namespace leadline::worker::cuda
