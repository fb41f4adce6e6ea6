#pragma once
// RedisServer: a real redis-server of a test's own, on a free port of 127.0.0.1, in a scratch directory,
// ended with it. make() gives null where there is no redis-server. Thread: one.

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "kvstore/redis_link.h"
#include "tests/support/free_port.h"
#include "tests/support/scratch_directory.h"

namespace leadline::tests {

class RedisServer {
 public:
  // `words` go to the command line after the port; "PORT" 0 with TLS. Null: redis-server is not installed.
  static std::unique_ptr<RedisServer> make(std::vector<std::string> words = {}, bool tls = false) {
    if (::access("/usr/bin/redis-server", X_OK) != 0) return nullptr;
    return std::unique_ptr<RedisServer>(new RedisServer(std::move(words), tls));
  }
  ~RedisServer() { stop(); }

  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] std::string url(const std::string& login = "") const {
    return "redis://" + login + "127.0.0.1:" + std::to_string(port_);
  }
  void signal(int number) const { ::kill(pid_, number); }
  void stop() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGCONT);
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  void start() {  // again, on the same port, empty
    pid_ = ::fork();
    if (pid_ == 0) {
      std::vector<std::string> words = {"redis-server",
                                        "--bind",
                                        "127.0.0.1",
                                        "--save",
                                        "",
                                        "--dir",
                                        directory_.path(),
                                        "--logfile",
                                        "log",
                                        tls_ ? "--tls-port" : "--port",
                                        std::to_string(port_)};
      if (tls_) words.insert(words.end(), {"--port", "0"});
      words.insert(words.end(), words_.begin(), words_.end());
      std::vector<char*> argv;
      for (std::string& word : words) argv.push_back(word.data());
      argv.push_back(nullptr);
      ::execv("/usr/bin/redis-server", argv.data());
      ::_exit(127);
    }
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (std::chrono::steady_clock::now() < until) {
      kvstore::RedisUrl plain;
      if (kvstore::RedisStream::connect({"127.0.0.1", port_}, plain, until)) return;
      ::usleep(2'000);
    }
    LEADLINE_CHECK(false, "redis-server did not start");
  }

 private:
  RedisServer(std::vector<std::string> words, bool tls)
      : words_(std::move(words)), tls_(tls), port_(free_port()) {
    start();
  }
  ScratchDirectory directory_;
  const std::vector<std::string> words_;
  const bool tls_;
  const std::uint16_t port_;
  pid_t pid_ = -1;
};

}  // namespace leadline::tests
