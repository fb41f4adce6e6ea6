#pragma once
// `leadline chat`: a conversation with a running server over its HTTP API, answers streamed. Not a web page
// and no tools. Reads turns from the terminal, or, where standard input is not one, one turn per line. Ctrl-C
// stops the answer; at the prompt it leaves. Thread: main.

#include <string>

#include "deploy/cli/api_client.h"

namespace leadline::deploy {

struct ChatOptions {
  ServerOptions server;
  std::string system;       // system message, "" = none
  double temperature = -1;  // -1 = the server's default
  int max_tokens = 0;       // 0 = the server's default
  std::int64_t seed = -1;   // -1 = none
};

void add_chat_flags(CLI::App& command, ChatOptions& options);
int run_chat(const ChatOptions& options);  // exit status: 0, or 1 after an error

}  // namespace leadline::deploy
