#pragma once
// ApiClient: the few OpenAI-style calls that chat and bench make, over one HttpClient. Not a general SDK.
// Thread: one at a time. Answers are checked, never trusted: a field of another type is a protocol error.

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "deploy/cli/http_client.h"

namespace CLI {
class App;
}

namespace leadline::deploy {

struct ServerOptions {
  std::string url = "http://127.0.0.1:8000";
  std::string api_key;  // also $LEADLINE_API_KEY, $OPENAI_API_KEY
  std::string model;    // "" = the first that the server lists
  std::string ca_file;
  bool insecure = false;
  double timeout_seconds = 600;  // of one answer
};
void add_server_flags(CLI::App& command, ServerOptions& options);

struct StreamedAnswer {
  std::string text;
  std::string finish_reason;                                        // "" when the stream ended without one
  int prompt_tokens = 0, completion_tokens = 0, cached_tokens = 0;  // 0 when the server told none
};

class ApiClient {
 public:
  static Result<ApiClient> create(const ServerOptions& options, int interrupt_fd = -1);
  // The model to ask for: the option's, else the first of /v1/models.
  Result<std::string> model();
  // POSTs `body` (JSON text) to a chat or completions path; with "stream": true `on_text` gets each piece as
  // it comes.
  Result<StreamedAnswer> generate(const std::string& path, const std::string& body,
                                  const std::function<void(std::string_view)>& on_text = {});

 private:
  ApiClient(ServerOptions options, Url url, int interrupt_fd);
  ServerOptions options_;
  std::unique_ptr<HttpClient> http_;
};

// One event of a stream or one whole answer (JSON text) added to `answer`; the new text. An error object is
// an Error.
Result<std::string> read_answer(std::string_view json, StreamedAnswer& answer);

}  // namespace leadline::deploy
