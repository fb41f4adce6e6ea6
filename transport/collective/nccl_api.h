#pragma once
// NcclApi: the few calls of NCCL and of its streams that nccl_communicator makes, so that its logic is tested
// against a fake (NCCL refuses two ranks on one GPU). Not a wrapper of all of NCCL. Thread: the
// communicator's owner; abort too. Every call returns "" or what went wrong.

#include <array>
#include <cstddef>
#include <memory>
#include <string>

#include "transport/collective/communicator.h"

namespace leadline::transport {

using NcclId = std::array<std::byte, 128>;
using NcclGroup = void*;
enum class StreamState { busy, idle, failed };

class NcclApi {
 public:
  virtual ~NcclApi() = default;
  virtual std::string make_id(NcclId& id) = 0;
  virtual std::string join(NcclGroup& group, int size, const NcclId& id, int rank) = 0;
  // A part of `group`: ranks that give the same colour, in the order of their ranks.
  virtual std::string split(NcclGroup group, int color, int rank, NcclGroup& part) = 0;
  virtual void leave(NcclGroup group) = 0;           // in good order
  virtual void abort(NcclGroup group) = 0;           // ends what is under way on this rank
  virtual std::string trouble(NcclGroup group) = 0;  // an error that came up since; "" none

  // On the stream, bytes of any kind; nothing here waits.
  virtual std::string all_gather(NcclGroup group, const void* send, void* recv, std::size_t bytes,
                                 StreamHandle) = 0;
  virtual std::string broadcast(NcclGroup group, void* buffer, std::size_t bytes, int root, StreamHandle) = 0;
  virtual std::string all_reduce(NcclGroup group, float* values, std::size_t count, StreamHandle) = 0;
  virtual std::string begin_pairs() = 0;  // sends and receives until end_pairs go together
  virtual std::string send(NcclGroup group, const void* from, std::size_t bytes, int to, StreamHandle) = 0;
  virtual std::string receive(NcclGroup group, void* to, std::size_t bytes, int from, StreamHandle) = 0;
  virtual std::string end_pairs() = 0;
  virtual std::string copy(void* to, const void* from, std::size_t bytes, StreamHandle) = 0;
  virtual StreamState state_of(StreamHandle stream) = 0;
};

std::unique_ptr<NcclApi> nccl_library();  // only in builds with NCCL

}  // namespace leadline::transport
