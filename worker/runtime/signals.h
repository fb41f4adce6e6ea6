#pragma once
// SignalThread: SIGTERM, SIGINT and SIGUSR1 as calls on a thread of its own. Not async-signal code: the
// signals are blocked in every thread and taken with sigwait. (mpirun passes SIGUSR1 on to its ranks and ends
// them itself on SIGTERM: field_notes.) Thread: block_signals in main before any other thread; the callback
// runs on the thread of this class.

#include <functional>
#include <thread>

namespace leadline::worker {

void block_signals();

class SignalThread {
 public:
  // `on_signal(n)`: the n-th request to end, from 1.
  explicit SignalThread(std::function<void(int)> on_signal);
  ~SignalThread();
  SignalThread(const SignalThread&) = delete;
  SignalThread& operator=(const SignalThread&) = delete;

 private:
  std::thread thread_;
};

}  // namespace leadline::worker
