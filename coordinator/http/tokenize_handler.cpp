#include "coordinator/http/tokenize_handler.h"

#include <nlohmann/json.hpp>

#include "coordinator/http/error_response.h"
#include "coordinator/http/json_guard.h"
#include "coordinator/http/prompt_builder.h"
#include "coordinator/http/request_fields.h"

namespace leadline::coordinator {

namespace {

using nlohmann::json;

constexpr std::size_t kMaxTokens = 1'000'000;  // of one call: far beyond any context, bounded all the same

void check_model(FieldReader& fields, const ServedModel& model) {
  std::string name;
  fields.text("model", name, 1024);
  if (!name.empty() && !model.serves(name)) {
    fields.reject("model", "the model " + show_value(json(name)) + " is not served here", Errc::not_found);
  }
}

Result<std::string> text_to_encode(const Services& services, FieldReader& fields, bool& specials) {
  const json* prompt = fields.find("prompt");
  const json* messages = fields.find("messages");
  if ((prompt == nullptr) == (messages == nullptr)) {
    return fail(Errc::invalid_request, "prompt: give exactly one of prompt and messages", "prompt");
  }
  if (prompt != nullptr) {
    if (!prompt->is_string())
      return fail(Errc::invalid_request, "prompt: must be a string, not " + show_value(*prompt), "prompt");
    specials = true;
    fields.boolean("add_special_tokens", specials);
    return prompt->get<std::string>();
  }
  CompletionRequest chat;
  auto parsed = parse_messages(*messages, services.limits, chat.ignored);
  if (!parsed) {
    const Error& e = parsed.error();
    return fail(e.code, e.param + ": " + e.message, e.param);
  }
  chat.messages = std::move(*parsed);
  specials = false;  // the template writes them
  fields.boolean("add_special_tokens", specials);
  fields.boolean("add_generation_prompt", chat.add_generation_prompt);
  fields.boolean("continue_final_message", chat.continue_final_message);
  if (chat.continue_final_message) chat.add_generation_prompt = false;
  if (const json* arguments = fields.find("chat_template_kwargs")) {
    if (!arguments->is_object())
      return fail(Errc::invalid_request, "chat_template_kwargs: must be an object", "chat_template_kwargs");
    chat.template_arguments = *arguments;
  }
  return render_chat(chat, services.chat_template, services.unix_s());
}

using BodyFunction = Result<std::string> (*)(const Services&, const std::string&);

void run(Services& services, std::shared_ptr<Exchange> exchange, BodyFunction function) {
  struct Task {
    std::string body;
    Result<std::string> answer = std::string();
  };
  const AdmissionDecision decision = services.dispatcher.admit({});
  if (decision.verdict == AdmissionVerdict::overloaded) {
    return exchange->respond(error_response(Error{Errc::overloaded, "the queue is full; try again later", {}},
                                            decision.retry_after_s));
  }
  auto task = std::make_shared<Task>();  // shared by the two halves of the hand-over
  task->body = exchange->take_body();
  services.dispatcher.preparing(+1);
  services.offload([task, function, &services] { task->answer = function(services, task->body); },
                   [task, exchange, &services] {
                     services.dispatcher.preparing(-1);
                     if (!task->answer) return exchange->respond(error_response(task->answer.error()));
                     HttpResponse response;
                     response.body = std::move(*task->answer);
                     exchange->respond(std::move(response));
                   });
}

}  // namespace

Result<std::string> tokenize_body(const Services& services, const std::string& body) {
  auto parsed = parse_json_object(body, services.limits);
  if (!parsed) return tl::unexpected(parsed.error());
  FieldReader fields(*parsed);
  check_model(fields, services.model);
  bool return_strings = false, specials = false;
  fields.boolean("return_token_strs", return_strings);
  auto text = text_to_encode(services, fields, specials);
  if (!fields.ok()) return tl::unexpected(fields.fault());
  if (!text) return tl::unexpected(text.error());
  fields.finish();
  auto ids = services.tokenizer.encode(*text, specials, kMaxTokens);
  if (!ids) {
    return fail(Errc::invalid_request, "prompt: more than " + std::to_string(kMaxTokens) + " tokens",
                "prompt");
  }
  json out;
  out["count"] = ids->size();
  out["max_model_len"] = services.model.max_model_len;
  out["tokens"] = *ids;
  out["token_strs"] = nullptr;
  if (return_strings) {
    out["token_strs"] = json::array();
    for (const auto id : *ids) out["token_strs"].push_back(std::string(services.tokenizer.id_to_token(id)));
  }
  return out.dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<std::string> detokenize_body(const Services& services, const std::string& body) {
  auto parsed = parse_json_object(body, services.limits);
  if (!parsed) return tl::unexpected(parsed.error());
  FieldReader fields(*parsed);
  check_model(fields, services.model);
  const json* tokens = fields.find("tokens");
  if (tokens == nullptr) fields.reject("tokens", "is required");
  bool skip_special = false;
  fields.boolean("skip_special_tokens", skip_special);
  if (!fields.ok()) return tl::unexpected(fields.fault());
  auto ids = read_token_ids(*tokens, "tokens", kMaxTokens, services.model.vocab_size);
  if (!ids) return tl::unexpected(ids.error());
  json out;
  out["prompt"] = services.tokenizer.decode(*ids, skip_special);
  return out.dump(-1, ' ', false, json::error_handler_t::replace);
}

void handle_tokenize(Services& services, std::shared_ptr<Exchange> exchange, const Tenant&) {
  run(services, std::move(exchange), tokenize_body);
}

void handle_detokenize(Services& services, std::shared_ptr<Exchange> exchange, const Tenant&) {
  run(services, std::move(exchange), detokenize_body);
}

}  // namespace leadline::coordinator
