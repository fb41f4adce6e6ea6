#pragma once
// PromptBuilder: request -> token ids of each prompt: renders the chat, encodes, and splices the ids of an
// earlier turn in where its text still stands (exactness X8). Not a cache: the session table remembers, this
// compares. Thread: render() and encode() are pure and run on the text pool; find_turn() on the I/O thread,
// between them.

#include <string>
#include <vector>

#include "coordinator/http/completion_request.h"
#include "coordinator/routing/session_table.h"
#include "coordinator/text/chat_template.h"
#include "coordinator/text/tokenizer.h"

namespace leadline::coordinator {

// One key per prefix of the conversation that ends before an assistant message, longest first; the last
// turn's key of its own comes from session_key(all messages). Equal messages, equal keys; the table compares
// texts before anything is used.
std::vector<std::string> earlier_turn_keys(const nlohmann::json& messages);
std::string session_key(const nlohmann::json& messages);

struct BuiltPrompts {
  std::vector<std::vector<transport::TokenId>> tokens;  // one list per prompt
  std::string rendered;                                 // chat: the prompt's text
  std::size_t spliced_tokens = 0;
};

// The rendered text of a chat. unsupported when the checkpoint has no template.
Result<std::string> render_chat(const CompletionRequest& request, const ChatTemplate* chat_template,
                                std::int64_t now_unix_s);

// What of an earlier turn stands at the start of `rendered`, copied so that the text pool may use it.
struct Splice {
  std::size_t text_bytes = 0;
  std::vector<transport::TokenId> tokens;
};
Splice find_splice(SessionTable& sessions, const std::string& tenant, const nlohmann::json& messages,
                   const std::string& rendered, std::uint64_t now_ms);

// Encodes what the splice does not cover. The seam must be at a special token on either side; otherwise all
// of it is encoded, since the halves of a word are not what the model was trained on.
Result<BuiltPrompts> encode_prompts(const CompletionRequest& request, const Tokenizer& tokenizer,
                                    std::string rendered, const Splice& splice, std::uint32_t max_model_len);

// Prompt and answer must fit: fills max_tokens where the request left it open.
Result<std::uint32_t> fit_max_tokens(const CompletionRequest& request, std::size_t prompt_tokens,
                                     std::uint32_t max_model_len);

}  // namespace leadline::coordinator
