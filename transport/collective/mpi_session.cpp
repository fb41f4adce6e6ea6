#include "transport/collective/mpi_session.h"

#include <mpi.h>
#include <sched.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <thread>

#include "monitoring/log.h"

namespace leadline::transport {

namespace {

constexpr std::chrono::seconds kFinalizeLimit{10};
constexpr int kMaxText = 4096;

// The launcher's word first: MPI_Comm_split_type of Open MPI 4.1 crashed between hosts under load (a peer's
// message for the new communicator came before it was ready), and host names can't tell network namespaces
// apart.
int ranks_on_this_host(int rank) {
  for (const char* name : {"OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS"}) {
    if (const char* value = std::getenv(name); value != nullptr) return std::atoi(value);
  }
  int count = 1;
  MPI_Comm host;
  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &host);
  MPI_Comm_size(host, &count);
  MPI_Comm_free(&host);
  return count;
}

class MpiSessionImpl final : public MpiSession {
 public:
  MpiSessionImpl() {
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &size_);
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    on_host_ = ranks_on_this_host(rank_);
  }

  [[nodiscard]] int rank() const override { return rank_; }
  [[nodiscard]] int size() const override { return size_; }
  [[nodiscard]] bool one_host() const override { return on_host_ == size_; }

  Result<std::string> share_text(const std::string& from_rank_0, SteadyTime deadline) override {
    std::string text = from_rank_0;
    text.resize(kMaxText);
    MPI_Request request;
    int code = MPI_Ibcast(text.data(), kMaxText, MPI_BYTE, 0, MPI_COMM_WORLD, &request);
    for (int done = 0; code == MPI_SUCCESS && done == 0;) {
      code = MPI_Test(&request, &done, MPI_STATUS_IGNORE);
      if (done == 0 && std::chrono::steady_clock::now() >= deadline) {
        return monitoring::fail(Errc::timeout, "MPI broadcast at start");
      }
      if (done == 0) ::sched_yield();
    }
    if (code != MPI_SUCCESS)
      return monitoring::fail(Errc::io, "MPI broadcast at start, code " + std::to_string(code));
    return text.substr(0, text.find('\0'));
  }

  void close() override {
    std::mutex mutex;
    std::condition_variable changed;
    bool done = false;
    // MPI_Finalize waits for every rank and has no deadline of its own.
    std::thread guard([&] {
      std::unique_lock lock(mutex);
      if (!changed.wait_for(lock, kFinalizeLimit, [&] { return done; })) {
        monitoring::log_error("mpi_finalize_stuck", {{"rank", rank_}});
        ::_exit(70);
      }
    });
    MPI_Finalize();
    {
      const std::lock_guard lock(mutex);
      done = true;
    }
    changed.notify_one();
    guard.join();
  }

 private:
  int rank_ = 0, size_ = 1, on_host_ = 1;
};

}  // namespace

Result<std::unique_ptr<MpiSession>> MpiSession::start() {
  int provided = MPI_THREAD_SINGLE;
  if (MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided) != MPI_SUCCESS) {
    return monitoring::fail(Errc::configuration, "MPI_Init_thread failed");
  }
  if (provided < MPI_THREAD_SERIALIZED) {
    return monitoring::fail(
        Errc::configuration,
        "this MPI library has thread level " + std::to_string(provided) + ", below MPI_THREAD_SERIALIZED");
  }
  return std::unique_ptr<MpiSession>(new MpiSessionImpl);
}

}  // namespace leadline::transport
