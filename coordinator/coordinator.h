#pragma once
// Coordinator: wires the parts, owns the io_context and the order of shutdown: readiness flips, no new
// connections, streams finish, then those that remain are ended with an error event. Decides nothing about
// requests. Thread: run() is the I/O thread; the text pool and the admin server have their own. drain() and
// stop() from any thread.

#include <functional>
#include <memory>
#include <string>

#include "coordinator/coordinator_config.h"
#include "coordinator/errc.h"
#include "coordinator/fleet/fleet.h"
#include "coordinator/text/chat_template.h"
#include "coordinator/text/tokenizer.h"

namespace leadline::coordinator {

// What a coordinator is made of besides its flags; tests bring their own.
struct CoordinatorParts {
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<ChatTemplate> chat_template;  // may be null
  std::function<Result<std::unique_ptr<Fleet>>(boost::asio::io_context&, std::function<void()> on_change)>
      open_fleet;
};

class Coordinator {
 public:
  // Reads the model's files, binds the ports. configuration, io, malformed_file: the message says which flag
  // or file.
  static Result<std::unique_ptr<Coordinator>> open(CoordinatorConfig config, CoordinatorParts parts);
  virtual ~Coordinator() = default;

  virtual void
  run() = 0;  // until drained or stopped; SIGTERM, SIGINT drain, a second one stops; SIGHUP reloads
  virtual void drain() = 0;
  virtual void stop() = 0;
  virtual std::string url() const = 0;        // "http://127.0.0.1:8000"
  virtual std::string admin_url() const = 0;  // "" when there is no admin port
};

}  // namespace leadline::coordinator
