#include "deploy/cli/chat.h"

#include <sys/signalfd.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "deploy/cli/console.h"
#include "deploy/cli/line_input.h"

namespace leadline::deploy {
namespace {

using nlohmann::json;

constexpr const char* kHelp =
    "  /new          begin a new conversation\n"
    "  /help         this text\n"
    "  /exit         leave (also Ctrl-D, or Ctrl-C at the prompt)\n"
    "  Ctrl-C        stop the answer\n";

int make_interrupt_fd() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

void clear_interrupts(int fd) {
  signalfd_siginfo info{};
  while (read(fd, &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
  }
}

class Conversation {
 public:
  Conversation(const ChatOptions& options, std::string model) : options_(options), model_(std::move(model)) {
    reset();
  }

  void reset() {
    messages_ = json::array();
    if (!options_.system.empty()) messages_.push_back({{"role", "system"}, {"content", options_.system}});
  }
  void add(const char* role, const std::string& text) {
    messages_.push_back({{"role", role}, {"content", text}});
  }
  void forget_last() { messages_.erase(messages_.size() - 1); }

  [[nodiscard]] std::string to_request() const {
    json body = {{"model", model_},
                 {"messages", messages_},
                 {"stream", true},
                 {"stream_options", {{"include_usage", true}}}};
    if (options_.temperature >= 0) body["temperature"] = options_.temperature;
    if (options_.max_tokens > 0) body["max_tokens"] = options_.max_tokens;
    if (options_.seed >= 0) body["seed"] = options_.seed;
    return body.dump(-1, ' ', false, json::error_handler_t::replace);
  }

 private:
  const ChatOptions& options_;
  const std::string model_;
  json messages_;
};

// Asks, prints the answer as it comes, and keeps it. False after an error.
bool take_turn(ApiClient& client, Conversation& conversation, const std::string& text, int interrupt_fd) {
  conversation.add("user", text);
  clear_interrupts(interrupt_fd);
  std::string shown;
  const auto answer =
      client.generate("/v1/chat/completions", conversation.to_request(), [&](std::string_view piece) {
        shown += piece;
        std::fwrite(piece.data(), 1, piece.size(), stdout);
        std::fflush(stdout);
      });
  if (!shown.empty() && !shown.ends_with('\n')) std::fputc('\n', stdout);
  std::fflush(stdout);
  clear_interrupts(interrupt_fd);
  if (answer) {
    conversation.add("assistant", answer->text);
    return true;
  }
  if (answer.error().code == Errc::interrupted) {  // what was said so far stays part of the conversation
    say("stopped");
    shown.empty() ? conversation.forget_last() : conversation.add("assistant", shown);
    return true;
  }
  conversation.forget_last();
  say(answer.error().message);
  return false;
}

}  // namespace

void add_chat_flags(CLI::App& command, ChatOptions& o) {
  add_server_flags(command, o.server);
  command.add_option("--system", o.system, "System message");
  command.add_option("--temperature", o.temperature, "0: greedy; default: the server's")
      ->check(CLI::Range(-1.0, 2.0));
  command.add_option("--max-tokens", o.max_tokens, "Longest answer; 0: the server's default")
      ->check(CLI::NonNegativeNumber);
  command.add_option("--seed", o.seed, "For a repeatable answer; -1: none")
      ->check(CLI::Range(std::int64_t{-1}, INT64_MAX));
}

int run_chat(const ChatOptions& options) {
  const bool terminal = isatty(STDIN_FILENO) == 1;
  const int interrupt_fd = make_interrupt_fd();
  auto client = ApiClient::create(options.server, interrupt_fd);
  if (!client) return say(client.error().message), 1;
  const auto model = client->model();
  if (!model) return say(model.error().message), 1;
  if (terminal) say("talking to " + *model + " at " + options.server.url + " (/help for help)");
  Conversation conversation(options, *model);
  LineInput input(interrupt_fd);
  bool all_well = true;
  for (std::string line;;) {
    if (terminal) std::fputs("> ", stdout), std::fflush(stdout);
    const LineInput::Event event = input.read(line);
    if (event != LineInput::Event::line) break;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    if (terminal && line == "/exit") return 0;
    if (terminal && line == "/new") {
      conversation.reset();
    } else if (terminal && line.starts_with('/')) {
      std::fputs(kHelp, stdout);
    } else {
      all_well = take_turn(*client, conversation, line, interrupt_fd) && all_well;
      if (!all_well && !terminal) break;
    }
  }
  if (terminal) std::fputc('\n', stdout);
  close(interrupt_fd);
  return all_well || terminal ? 0 : 1;
}

}  // namespace leadline::deploy
