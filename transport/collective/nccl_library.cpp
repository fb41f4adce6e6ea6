// NCCL itself behind NcclApi. Compiled where NCCL and the CUDA toolkit are found.

#include <cuda_runtime.h>
#include <nccl.h>

#include <cstring>

#include "transport/collective/nccl_api.h"

namespace leadline::transport {

namespace {

std::string words(ncclResult_t code) {
  return code == ncclSuccess || code == ncclInProgress ? "" : ncclGetErrorString(code);
}
ncclComm_t of(NcclGroup group) {
  return static_cast<ncclComm_t>(group);
}
cudaStream_t of_stream(StreamHandle stream) {
  return static_cast<cudaStream_t>(stream);
}

class NcclLibrary final : public NcclApi {
 public:
  std::string make_id(NcclId& id) override {
    ncclUniqueId made;
    static_assert(sizeof made == sizeof id);
    const std::string trouble = words(ncclGetUniqueId(&made));
    std::memcpy(id.data(), &made, sizeof made);
    return trouble;
  }
  std::string join(NcclGroup& group, int size, const NcclId& id, int rank) override {
    ncclUniqueId given;
    std::memcpy(&given, id.data(), sizeof given);
    ncclComm_t made = nullptr;
    const std::string trouble = words(ncclCommInitRank(&made, size, given, rank));
    group = made;
    return trouble;
  }
  std::string split(NcclGroup group, int color, int rank, NcclGroup& part) override {
    ncclComm_t made = nullptr;
    const std::string trouble = words(ncclCommSplit(of(group), color, rank, &made, nullptr));
    part = made;
    return trouble;
  }
  void leave(NcclGroup group) override { (void)ncclCommDestroy(of(group)); }
  void abort(NcclGroup group) override { (void)ncclCommAbort(of(group)); }
  std::string trouble(NcclGroup group) override {
    ncclResult_t since = ncclSuccess;
    const ncclResult_t asked = ncclCommGetAsyncError(of(group), &since);
    return asked != ncclSuccess ? words(asked) : words(since);
  }
  std::string all_gather(NcclGroup group, const void* send, void* recv, std::size_t bytes,
                         StreamHandle stream) override {
    return words(ncclAllGather(send, recv, bytes, ncclUint8, of(group), of_stream(stream)));
  }
  std::string broadcast(NcclGroup group, void* buffer, std::size_t bytes, int root,
                        StreamHandle stream) override {
    return words(ncclBroadcast(buffer, buffer, bytes, ncclUint8, root, of(group), of_stream(stream)));
  }
  std::string all_reduce(NcclGroup group, float* values, std::size_t count, StreamHandle stream) override {
    return words(ncclAllReduce(values, values, count, ncclFloat32, ncclSum, of(group), of_stream(stream)));
  }
  std::string begin_pairs() override { return words(ncclGroupStart()); }
  std::string send(NcclGroup group, const void* from, std::size_t bytes, int to,
                   StreamHandle stream) override {
    return words(ncclSend(from, bytes, ncclUint8, to, of(group), of_stream(stream)));
  }
  std::string receive(NcclGroup group, void* to, std::size_t bytes, int from, StreamHandle stream) override {
    return words(ncclRecv(to, bytes, ncclUint8, from, of(group), of_stream(stream)));
  }
  std::string end_pairs() override { return words(ncclGroupEnd()); }
  std::string copy(void* to, const void* from, std::size_t bytes, StreamHandle stream) override {
    const cudaError_t code = cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, of_stream(stream));
    return code == cudaSuccess ? "" : cudaGetErrorString(code);
  }
  StreamState state_of(StreamHandle stream) override {
    const cudaError_t code = cudaStreamQuery(of_stream(stream));
    return code == cudaSuccess         ? StreamState::idle
           : code == cudaErrorNotReady ? StreamState::busy
                                       : StreamState::failed;
  }
};

}  // namespace

std::unique_ptr<NcclApi> nccl_library() {
  return std::make_unique<NcclLibrary>();
}

}  // namespace leadline::transport
