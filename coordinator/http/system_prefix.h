#pragma once
// SystemPrefix: how many tokens at the start of a chat's prompt are its system prompt, for requests whose KV
// is compressed: those slots are pinned. Not pinning (the worker's methods do it) and not the prompt.
// Thread: pure; on the text pool. Invariant: the number depends on the request and the template alone, so all
// turns of a chat and every worker have the same.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "coordinator/http/completion_request.h"
#include "coordinator/text/chat_template.h"
#include "coordinator/text/tokenizer.h"

namespace leadline::coordinator {

// Whether the worker will compress this chat, as far as can be told here, and pins are wanted.
// default_method: of requests that name none.
bool pins_system_prompt(const CompletionRequest& request, std::string_view default_method);

// The start of a chat's text up to the end of its leading system messages. Rendered alone; where the template
// refuses that, or writes them into the user's turn, as it stands before the text of one. "" where there are
// none, or where `rendered` does not begin with them.
std::string render_system_prefix(const CompletionRequest& request, const ChatTemplate& chat_template,
                                 const std::string& rendered, std::int64_t now_unix_s);

// Tokens that `prompt` and `text`, encoded alone, have in common from the first on: a token that reaches
// beyond the text's end (merges) is not the system prompt's.
std::uint32_t system_prefix_tokens(const Tokenizer& tokenizer, std::string_view text,
                                   std::span<const transport::TokenId> prompt);

}  // namespace leadline::coordinator
