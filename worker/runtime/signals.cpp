#include "worker/runtime/signals.h"

#include <pthread.h>
#include <csignal>

namespace leadline::worker {
namespace {

sigset_t ending_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (int signal : {SIGTERM, SIGINT, SIGUSR1, SIGUSR2}) sigaddset(&set, signal);
  return set;
}

}  // namespace

void block_signals() {
  const sigset_t set = ending_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

SignalThread::SignalThread(std::function<void(int)> on_signal)
    : thread_([on_signal = std::move(on_signal)] {
        const sigset_t set = ending_signals();
        for (int count = 0;;) {
          int signal = 0;
          if (sigwait(&set, &signal) != 0) continue;
          if (signal == SIGUSR2) return;  // our own destructor
          on_signal(++count);
        }
      }) {}

SignalThread::~SignalThread() {
  pthread_kill(thread_.native_handle(), SIGUSR2);
  thread_.join();
}

}  // namespace leadline::worker
