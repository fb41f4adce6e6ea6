// The CUDA device behind Runtime: CUDA runtime calls, cuBLASLt products. Plain C++: kernels are launched
// through device_table.h.

#include <cublasLt.h>
#include <cuda_runtime.h>

#include <cstdio>
#include <map>
#include <tuple>
#include <vector>

#include "monitoring/check.h"
#include "worker/backend/cuda/cublaslt_products.cuh"
#include "worker/backend/cuda/device_table.h"

namespace leadline::worker::cuda {

namespace {

// A CUDA context is unusable after an error other than a refused allocation: the process ends with the
// stage's name.
void check(cudaError_t code, const char* call, const char* stage) {
  if (code == cudaSuccess) [[likely]]
    return;
  char text[400];
  std::snprintf(text, sizeof text, "CUDA: %s in %s: %s (%s)", call, stage, cudaGetErrorString(code),
                cudaGetErrorName(code));
  LEADLINE_CHECK(false, text);
}

cudaStream_t of(StreamId stream) {
  return static_cast<cudaStream_t>(stream);
}
cudaEvent_t of_event(EventId event) {
  return static_cast<cudaEvent_t>(event);
}

class DeviceRuntime final : public Runtime {
 public:
  explicit DeviceRuntime(int index) : index_(index) {
    check(cudaSetDevice(index), "cudaSetDevice", "start");
    cudaDeviceProp properties{};
    check(cudaGetDeviceProperties(&properties, index), "cudaGetDeviceProperties", "start");
    info_.name = properties.name;
    info_.major = properties.major;
    info_.minor = properties.minor;
    info_.multiprocessors = properties.multiProcessorCount;
    info_.shared_bytes_per_block = static_cast<std::int64_t>(properties.sharedMemPerBlockOptin);
    products_ = std::make_unique<CublasLtProducts>(info_.major, info_.minor);
  }
  ~DeviceRuntime() override = default;

  DeviceInfo info() override {
    std::size_t free = 0, total = 0;
    check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo", "start");
    info_.free_bytes = static_cast<std::int64_t>(free);
    info_.total_bytes = static_cast<std::int64_t>(total);
    return info_;
  }
  bool emulated() const override { return false; }

  void* allocate(std::int64_t bytes) override {
    void* memory = nullptr;
    if (cudaMalloc(&memory, static_cast<std::size_t>(bytes)) == cudaSuccess) return memory;
    (void)cudaGetLastError();  // a refusal is not sticky
    return nullptr;
  }
  void release(void* memory) override { check(cudaFree(memory), "cudaFree", "release"); }
  void* allocate_pinned(std::int64_t bytes) override {
    void* memory = nullptr;
    if (cudaMallocHost(&memory, static_cast<std::size_t>(bytes)) == cudaSuccess) return memory;
    (void)cudaGetLastError();
    return nullptr;
  }
  void release_pinned(void* memory) override { check(cudaFreeHost(memory), "cudaFreeHost", "release"); }

  StreamId make_stream() override {
    cudaStream_t stream = nullptr;
    check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreate", "start");
    return stream;
  }
  void destroy_stream(StreamId stream) override {
    check(cudaStreamDestroy(of(stream)), "cudaStreamDestroy", "end");
  }
  EventId make_event() override {
    cudaEvent_t event = nullptr;
    check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreate", "start");
    return event;
  }
  void destroy_event(EventId event) override {
    check(cudaEventDestroy(of_event(event)), "cudaEventDestroy", "end");
  }
  void record(EventId event, StreamId stream) override {
    check(cudaEventRecord(of_event(event), of(stream)), "cudaEventRecord", "step");
  }
  void wait(StreamId stream, EventId event) override {
    check(cudaStreamWaitEvent(of(stream), of_event(event), 0), "cudaStreamWaitEvent", "step");
  }
  void wait_on_host(EventId event, const char* stage) override {
    check(cudaEventSynchronize(of_event(event)), "cudaEventSynchronize", stage);
  }
  void synchronize(StreamId stream, const char* stage) override {
    check(cudaStreamSynchronize(of(stream)), "cudaStreamSynchronize", stage);
  }
  void copy(void* to, const void* from, std::int64_t bytes, Copy direction, StreamId stream) override {
    const cudaMemcpyKind kind = direction == Copy::to_device ? cudaMemcpyHostToDevice
                                : direction == Copy::to_host ? cudaMemcpyDeviceToHost
                                                             : cudaMemcpyDeviceToDevice;
    check(cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), kind, of(stream)), "cudaMemcpyAsync",
          "copy");
  }
  void fill(void* to, std::uint8_t byte, std::int64_t bytes, StreamId stream) override {
    check(cudaMemsetAsync(to, byte, static_cast<std::size_t>(bytes), of(stream)), "cudaMemsetAsync", "fill");
  }

  void launch(const Launch& l, StreamId stream) override {
    const DeviceKernel kernel = device_kernel(l.kernel);
    if (l.shared_bytes > (48 << 10)) allow_shared(kernel.function, l);
    const dim3 grid(static_cast<unsigned>(l.grid.x), static_cast<unsigned>(l.grid.y),
                    static_cast<unsigned>(l.grid.z));
    void* args[] = {const_cast<void*>(l.args)};
    check(cudaLaunchKernel(kernel.function, grid, dim3(static_cast<unsigned>(kernel.threads)), args,
                           static_cast<std::size_t>(l.shared_bytes), of(stream)),
          "cudaLaunchKernel", l.stage);
  }
  void multiply(const Product& product, StreamId stream) override {
    products_->multiply(product, of(stream));
  }
  bool multiplies(std::int32_t format) override {
    return format != kFp8 ? format == kF32 || format == kBf16 || format == kF16 : products_->has_fp8();
  }

  void begin_capture(StreamId stream) override {
    check(cudaStreamBeginCapture(of(stream), cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture",
          "recording");
  }
  GraphId end_capture(StreamId stream) override {
    cudaGraph_t graph = nullptr;
    if (cudaStreamEndCapture(of(stream), &graph) != cudaSuccess || graph == nullptr) {
      (void)cudaGetLastError();
      return nullptr;
    }
    cudaGraphExec_t executable = nullptr;
    const cudaError_t made = cudaGraphInstantiate(&executable, graph, 0);
    check(cudaGraphDestroy(graph), "cudaGraphDestroy", "recording");
    if (made == cudaSuccess) return executable;
    (void)cudaGetLastError();
    return nullptr;
  }
  void launch_graph(GraphId graph, StreamId stream) override {
    check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), of(stream)), "cudaGraphLaunch",
          "recorded step");
  }
  void destroy_graph(GraphId graph) override {
    check(cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph)), "cudaGraphExecDestroy", "recorded step");
  }

 private:
  void allow_shared(const void* function, const Launch& l) {
    std::int64_t& allowed = shared_allowed_[function];
    if (allowed >= l.shared_bytes) return;
    check(cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(l.shared_bytes)),
          "cudaFuncSetAttribute", l.stage);
    allowed = l.shared_bytes;
  }

  const int index_;
  DeviceInfo info_;
  std::unique_ptr<CublasLtProducts> products_;
  std::map<const void*, std::int64_t> shared_allowed_;
};

}  // namespace

DeviceKernel device_kernel(KernelId id) {
  for (const auto finder : {row_device_kernel, kv_device_kernel, prefill_device_kernel})
    if (const DeviceKernel kernel = finder(id); kernel.function != nullptr) return kernel;
  return {nullptr, 0};
}

int visible_devices() {
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
  (void)cudaGetLastError();
  return 0;
}

Result<std::unique_ptr<Runtime>> open_device(int index) {
  int count = 0;
  const cudaError_t code = cudaGetDeviceCount(&count);
  if (code != cudaSuccess) {
    (void)cudaGetLastError();
    return monitoring::fail(Errc::configuration,
                            std::string("device cuda: no usable GPU: ") + cudaGetErrorString(code));
  }
  if (index < 0 || index >= count)
    return monitoring::fail(Errc::configuration,
                            "device cuda: GPU " + std::to_string(index) + " of " + std::to_string(count));
  return std::unique_ptr<Runtime>(std::make_unique<DeviceRuntime>(index));
}

}  // namespace leadline::worker::cuda
