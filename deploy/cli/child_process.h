#pragma once
// ChildProcess: one started program with its standard output as lines. Not a restarter (supervisor,
// restart_policy). It leads a process group of its own (a terminal's Ctrl-C reaches only us) and is killed by
// the kernel when we die. Thread: the one that spawned it, which must be the main thread: PR_SET_PDEATHSIG
// follows the thread.

#include <sys/types.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "deploy/cli/errc.h"

namespace leadline::deploy {

struct ChildSpec {
  std::vector<std::string> command;                              // command[0] is looked up in PATH
  std::vector<std::pair<std::string, std::string>> environment;  // besides our own
  std::vector<int> cores;                                        // that it may use; empty: as we may
};

class ChildProcess {
 public:
  static Result<ChildProcess> spawn(const ChildSpec& spec);
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&&) = delete;
  ~ChildProcess();  // kills the group if it still runs, and waits

  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] int output_fd() const { return output_; }  // for poll; -1 after its end
  std::vector<std::string> read_lines();                   // what has come; never waits
  void send_signal(int signal) const;                      // to the process
  // To its children, or to itself where it has none: mpirun answers SIGTERM by a fixed wait and SIGKILL, its
  // ranks by a drain.
  void send_signal_to_leaves(int signal) const;
  void kill_group() const;           // SIGKILL to all of its group
  std::optional<int> exit_status();  // as waitpid gives it; never waits

 private:
  ChildProcess(pid_t pid, int output) : pid_(pid), output_(output) {}
  pid_t pid_ = -1;
  int output_ = -1;
  std::string partial_;
  std::optional<int> status_;
};

// "exit status 1", "killed by SIGKILL".
std::string describe_exit(int status);

// Replaces this process by `command`, which the kernel kills when our present parent ends. Returns only on
// failure.
std::string exec_with_parent(const std::vector<std::string>& command);

}  // namespace leadline::deploy
