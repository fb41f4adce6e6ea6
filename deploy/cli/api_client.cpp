#include "deploy/cli/api_client.h"

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "deploy/cli/sse_reader.h"

namespace leadline::deploy {
namespace {

using nlohmann::json;

std::string string_at(const json& object, const char* key) {
  const auto at = object.is_object() ? object.find(key) : object.end();
  return at != object.end() && at->is_string() ? at->get<std::string>() : std::string();
}

int number_at(const json& object, const char* key) {
  const auto at = object.is_object() ? object.find(key) : object.end();
  return at != object.end() && at->is_number_integer() ? at->get<int>() : 0;
}

const json& member(const json& object, const char* key) {
  static const json nothing;
  const auto at = object.is_object() ? object.find(key) : object.end();
  return at != object.end() ? *at : nothing;
}

// Of an error object, or the text itself where there is none.
std::string error_message(const std::string& body, int status) {
  const std::string message = string_at(member(json::parse(body, nullptr, false), "error"), "message");
  return "HTTP " + std::to_string(status) + ": " + (message.empty() ? body.substr(0, 200) : message);
}

void read_usage(const json& usage, StreamedAnswer& answer) {
  if (!usage.is_object()) return;
  answer.prompt_tokens = number_at(usage, "prompt_tokens");
  answer.completion_tokens = number_at(usage, "completion_tokens");
  answer.cached_tokens = number_at(member(usage, "prompt_tokens_details"), "cached_tokens");
}

}  // namespace

void add_server_flags(CLI::App& command, ServerOptions& o) {
  command.option_defaults()->always_capture_default();
  command.add_option("--url", o.url, "Where the server is");
  command
      .add_option("--api-key", o.api_key,
                  "Key, if the server asks for one; also LEADLINE_API_KEY, OPENAI_API_KEY")
      ->capture_default_str();
  command.add_option("--model", o.model, "Model name; default: the first that the server lists");
  command.add_option("--ca-file", o.ca_file, "Certificate authority (PEM) to trust")
      ->check(CLI::ExistingFile);
  command.add_flag("--insecure", o.insecure, "Accept any certificate");
  command.add_option("--timeout", o.timeout_seconds, "Seconds for one answer")
      ->check(CLI::Range(0.1, 86400.0));
}

ApiClient::ApiClient(ServerOptions options, Url url, int interrupt_fd) : options_(std::move(options)) {
  StreamOptions stream;
  stream.ca_file = options_.ca_file;
  stream.insecure = options_.insecure;
  stream.interrupt_fd = interrupt_fd;
  http_ = std::make_unique<HttpClient>(std::move(url), std::move(stream));
}

Result<ApiClient> ApiClient::create(const ServerOptions& options, int interrupt_fd) {
  auto url = parse_url(options.url);
  if (!url) return tl::unexpected(url.error());
  ServerOptions filled = options;
  for (const char* variable : {"LEADLINE_API_KEY", "OPENAI_API_KEY"}) {
    const char* value = std::getenv(variable);
    if (filled.api_key.empty() && value != nullptr) filled.api_key = value;
  }
  if (filled.api_key.find_first_of("\r\n") != std::string::npos) {
    return fail(Errc::configuration, "--api-key: a key is one line");
  }
  return ApiClient(std::move(filled), std::move(*url), interrupt_fd);
}

Result<std::string> ApiClient::model() {
  if (!options_.model.empty()) return options_.model;
  HttpRequest request;
  request.path = "/v1/models";
  request.api_key = options_.api_key;
  request.timeout = std::chrono::seconds(10);
  auto answer = http_->send(request);
  if (!answer) return tl::unexpected(answer.error());
  if (answer->status != 200) return fail(Errc::protocol, error_message(answer->body, answer->status));
  const json body = json::parse(answer->body, nullptr, false);
  const json& models = member(body, "data");
  if (models.is_array() && !models.empty()) options_.model = string_at(models[0], "id");
  if (options_.model.empty()) return fail(Errc::protocol, "the server lists no model");
  return options_.model;
}

Result<StreamedAnswer> ApiClient::generate(const std::string& path, const std::string& body,
                                           const std::function<void(std::string_view)>& on_text) {
  HttpRequest request;
  request.method = "POST";
  request.path = path;
  request.body = body;
  request.api_key = options_.api_key;
  request.timeout = std::chrono::milliseconds(static_cast<std::int64_t>(options_.timeout_seconds * 1e3));
  StreamedAnswer out;
  SseReader events;
  Error problem{Errc::ok, {}};
  const auto on_body = [&](std::string_view bytes) {
    for (const std::string& event : events.feed(bytes)) {
      if (event == "[DONE]") continue;
      const auto text = read_answer(event, out);
      if (!text) problem = text.error();
      if (text && !text->empty() && on_text) on_text(*text);
    }
    if (events.failed()) problem = {Errc::protocol, "an event of the stream is too long"};
    return problem.code == Errc::ok;
  };
  auto answer = http_->send(request, on_text ? HttpClient::OnBody(on_body) : HttpClient::OnBody());
  if (problem.code != Errc::ok) return tl::unexpected(problem);
  if (!answer) return tl::unexpected(answer.error());
  if (answer->status != 200) return fail(Errc::protocol, error_message(answer->body, answer->status));
  if (!on_text) {
    if (auto text = read_answer(answer->body, out); !text) return tl::unexpected(text.error());
  }
  return out;
}

Result<std::string> read_answer(std::string_view text, StreamedAnswer& answer) {
  const json body = json::parse(text, nullptr, false);
  if (!body.is_object()) return fail(Errc::protocol, "the answer is not a JSON object");
  if (const json& error = member(body, "error"); error.is_object()) {
    return fail(Errc::protocol, "the server says: " + string_at(error, "message"));
  }
  read_usage(member(body, "usage"), answer);
  const json& choices = member(body, "choices");
  if (!choices.is_array() || choices.empty()) return std::string();
  const json& choice = choices[0];
  if (const std::string reason = string_at(choice, "finish_reason"); !reason.empty())
    answer.finish_reason = reason;
  std::string piece = string_at(choice, "text");  // completions
  for (const char* key : {"delta", "message"}) {
    if (piece.empty()) piece = string_at(member(choice, key), "content");
  }
  answer.text += piece;
  return piece;
}

}  // namespace leadline::deploy
