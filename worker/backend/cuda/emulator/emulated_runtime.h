#pragma once
// EmulatedRuntime: a Runtime on host memory, for tests: every call is recorded in order, and kernels run as
// fibers. Not a device: streams run at once and in call order, so it shows which orders were asked for, not
// that a device keeps them. Thread: one owner. Invariants: every pointer of a copy or fill must lie in memory
// that this runtime gave out; memory starts as NaN; a limit on memory makes it refuse as a full device does.

#include <map>
#include <string>
#include <vector>

#include "worker/backend/cuda/runtime.h"

namespace leadline::worker::cuda {

struct RecordedCall {
  std::string what;   // "launch", "copy to_device", "record", "wait", "multiply", ...
  std::string stage;  // of launches and products; else ""
  StreamId stream = nullptr;
  EventId event = nullptr;
  std::int64_t bytes = 0;
  Launch launch;  // its args point into `args`
  std::vector<std::byte> args;
  Product product;
};

class EmulatedRuntime final : public Runtime {
 public:
  struct Options {
    std::int64_t total_bytes = std::int64_t{1} << 30;
    int major = 9, minor = 0;
    int multiprocessors = 4;
    bool runs_kernels = true;  // false: launches are recorded only
  };
  explicit EmulatedRuntime(const Options& options) : options_(options) {}
  ~EmulatedRuntime() override;

  [[nodiscard]] std::vector<RecordedCall>& calls() { return calls_; }
  [[nodiscard]] std::int64_t live_bytes() const { return live_bytes_; }
  [[nodiscard]] std::size_t live_handles() const { return handles_.size(); }
  void keep_calls(bool keep) { keeps_calls_ = keep; }

  DeviceInfo info() override;
  bool emulated() const override { return true; }
  void* allocate(std::int64_t bytes) override;
  void release(void* memory) override;
  void* allocate_pinned(std::int64_t bytes) override;
  void release_pinned(void* memory) override;
  StreamId make_stream() override { return make_handle("stream"); }
  void destroy_stream(StreamId stream) override { drop_handle(stream); }
  EventId make_event() override { return make_handle("event"); }
  void destroy_event(EventId event) override { drop_handle(event); }
  void record(EventId event, StreamId stream) override;
  void wait(StreamId stream, EventId event) override;
  void wait_on_host(EventId event, const char* stage) override;
  void synchronize(StreamId stream, const char* stage) override;
  void copy(void* to, const void* from, std::int64_t bytes, Copy direction, StreamId stream) override;
  void fill(void* to, std::uint8_t byte, std::int64_t bytes, StreamId stream) override;
  void launch(const Launch& launch, StreamId stream) override;
  void multiply(const Product& product, StreamId stream) override;
  bool multiplies(std::int32_t format) override;
  void begin_capture(StreamId stream) override;
  GraphId end_capture(StreamId stream) override;
  void launch_graph(GraphId graph, StreamId stream) override;
  void destroy_graph(GraphId graph) override;

 private:
  struct Work {  // what a graph replays
    enum class Kind { copy, fill, launch, product } kind;
    void* to = nullptr;
    const void* from = nullptr;
    std::int64_t bytes = 0;
    std::uint8_t byte = 0;
    Launch launch;
    std::vector<std::byte> args;
    Product product;
  };
  void* make_handle(const char* kind);
  void drop_handle(void* handle);
  void note(RecordedCall call);
  void submit(Work work);
  void run(const Work& work);
  void expect_ours(const void* memory, std::int64_t bytes) const;

  const Options options_;
  std::vector<RecordedCall> calls_;
  bool keeps_calls_ = true, capturing_ = false;
  std::map<const std::byte*, std::int64_t> device_, pinned_;
  std::int64_t live_bytes_ = 0;
  std::map<void*, std::string> handles_;
  std::uintptr_t next_handle_ = 0x1000;
  std::vector<Work> captured_;
  std::map<GraphId, std::vector<Work>> graphs_;
};

}  // namespace leadline::worker::cuda
