#include "deploy/cli/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>

namespace leadline::deploy {
namespace {

constexpr std::size_t kMaxLine = 64 << 10;  // a longer line is cut there

std::vector<char*> to_argv(const std::vector<std::string>& command) {
  std::vector<char*> argv;
  for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  return argv;
}

void unblock_signals() {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGCHLD}) std::signal(signal, SIG_DFL);
}

// The processes whose parent is `parent`, from /proc/PID/stat: "pid (name) state ppid …".
std::vector<pid_t> list_children(pid_t parent) {
  std::vector<pid_t> children;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    const pid_t pid = std::atoi(entry.path().filename().c_str());
    if (pid <= 0) continue;
    std::ifstream file(entry.path() / "stat");
    std::string text((std::istreambuf_iterator<char>(file)), {});
    const auto name_end = text.rfind(')');
    int its_parent = 0;
    char state = 0;
    if (name_end == std::string::npos ||
        std::sscanf(text.c_str() + name_end + 1, " %c %d", &state, &its_parent) != 2)
      continue;
    if (its_parent == parent && state != 'Z') children.push_back(pid);
  }
  return children;
}

// Of the process that calls it; a hint.
void stay_on(std::span<const int> cores) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int core : cores) CPU_SET(core, &set);
  if (!cores.empty()) (void)sched_setaffinity(0, sizeof set, &set);
}

struct Pipes {
  int output, report;
};

// In the child, between fork and exec: async-signal-safe calls only. Errors are written to `report`.
[[noreturn]] void become(char* const* argv, char* const* environment, std::span<const int> cores, Pipes pipes,
                         pid_t parent) {
  const auto [output, report] = pipes;
  setpgid(0, 0);
  stay_on(cores);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);  // we died before the line above
  unblock_signals();
  const int nothing = open("/dev/null", O_RDONLY);
  dup2(nothing, STDIN_FILENO);
  dup2(output, STDOUT_FILENO);
  execvpe(argv[0], argv, environment);
  const int error = errno;
  (void)!write(report, &error, sizeof error);
  _exit(127);
}

}  // namespace

Result<ChildProcess> ChildProcess::spawn(const ChildSpec& spec) {
  std::vector<std::string> variables;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    bool replaced = false;
    for (const auto& [key, value] : spec.environment)
      replaced |= std::string_view(*entry).starts_with(key + "=");
    if (!replaced) variables.emplace_back(*entry);
  }
  for (const auto& [key, value] : spec.environment) variables.push_back(key + "=" + value);
  const std::vector<char*> argv = to_argv(spec.command), environment = to_argv(variables);
  int output[2], report[2];
  if (pipe2(output, O_CLOEXEC) != 0) return fail(Errc::io, std::string("pipe: ") + std::strerror(errno));
  if (pipe2(report, O_CLOEXEC) != 0) {
    close(output[0]);
    close(output[1]);
    return fail(Errc::io, std::string("pipe: ") + std::strerror(errno));
  }
  const pid_t parent = getpid(), pid = fork();
  if (pid == 0) become(argv.data(), environment.data(), spec.cores, {output[1], report[1]}, parent);
  close(output[1]);
  close(report[1]);
  int error = pid < 0 ? errno : 0;
  if (pid >= 0 && read(report[0], &error, sizeof error) > 0) waitpid(pid, nullptr, 0);
  close(report[0]);
  if (error != 0) {
    close(output[0]);
    return fail(Errc::io, spec.command[0] + ": " + std::strerror(error));
  }
  fcntl(output[0], F_SETFL, O_NONBLOCK);
  return ChildProcess(pid, output[0]);
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      output_(std::exchange(other.output_, -1)),
      partial_(std::move(other.partial_)),
      status_(other.status_) {}

ChildProcess::~ChildProcess() {
  if (output_ >= 0) close(output_);
  if (pid_ < 0 || exit_status()) return;
  kill_group();
  waitpid(pid_, nullptr, 0);
}

std::vector<std::string> ChildProcess::read_lines() {
  char buffer[4096];
  while (output_ >= 0) {
    const ssize_t got = read(output_, buffer, sizeof buffer);
    if (got > 0) partial_.append(buffer, static_cast<std::size_t>(got));
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
      close(output_);
      output_ = -1;
    }
    if (got <= 0) break;
  }
  std::vector<std::string> lines;
  for (std::size_t end = partial_.find('\n'); end != std::string::npos; end = partial_.find('\n')) {
    lines.push_back(partial_.substr(0, end));
    partial_.erase(0, end + 1);
  }
  if (partial_.size() > kMaxLine) lines.push_back(std::exchange(partial_, {}));
  return lines;
}

void ChildProcess::send_signal(int signal) const {
  if (pid_ > 0 && !status_) kill(pid_, signal);
}

void ChildProcess::send_signal_to_leaves(int signal) const {
  if (pid_ <= 0 || status_) return;
  const std::vector<pid_t> children = list_children(pid_);
  for (const pid_t child : children) kill(child, signal);
  if (children.empty()) send_signal(signal);
}

void ChildProcess::kill_group() const {
  if (pid_ > 0 && !status_) kill(-pid_, SIGKILL);
}

std::optional<int> ChildProcess::exit_status() {
  int status = 0;
  if (!status_ && pid_ > 0 && waitpid(pid_, &status, WNOHANG) == pid_) status_ = status;
  return status_;
}

std::string describe_exit(int status) {
  if (WIFSIGNALED(status)) {
    const char* name = sigabbrev_np(WTERMSIG(status));
    return "killed by SIG" + std::string(name != nullptr ? name : "?");
  }
  return "exit status " + std::to_string(WEXITSTATUS(status));
}

std::string exec_with_parent(const std::vector<std::string>& command) {
  const pid_t parent = getppid();
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) return "the parent has gone";
  const std::vector<char*> argv = to_argv(command);
  execvp(argv[0], argv.data());
  return command[0] + ": " + std::strerror(errno);
}

}  // namespace leadline::deploy
