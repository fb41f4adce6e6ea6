#pragma once
// Services: what HTTP handlers may use, passed to each; no globals. Built and owned by Coordinator.
// Thread: the I/O thread, save tokenizer and chat_template (any thread) and what `offload` runs.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "coordinator/coordinator_metrics.h"
#include "coordinator/dispatcher.h"
#include "coordinator/http/api_keys.h"
#include "coordinator/kv_history.h"
#include "coordinator/limits.h"
#include "coordinator/routing/session_table.h"
#include "coordinator/served_model.h"
#include "coordinator/text/chat_template.h"
#include "coordinator/text/tokenizer.h"

namespace leadline::coordinator {

struct Services {
  const Limits& limits;
  const ServedModel& model;
  const Tokenizer& tokenizer;
  const ChatTemplate* chat_template;  // null when the checkpoint has none: chat is then refused
  const CoordinatorMetrics& metrics;
  Dispatcher& dispatcher;
  SessionTable& sessions;
  KvHistory& kv_history;
  const ApiKeys* keys;                    // null = no authentication
  std::function<std::uint64_t()> now_ms;  // steady
  std::function<std::int64_t()> unix_s;
  // Runs `work` on the text pool, then `then` on the I/O thread. Not for waiting: only for computing.
  std::function<void(std::function<void()> work, std::function<void()> then)> offload;
  // Calls `each` about every 100 ms until it returns false.
  std::function<void(std::function<bool()> each)> every_tick;
  std::vector<transport::TokenId> banned_ids;  // ids below the tokenizer's size that it does not have
  bool console = true;                         // false: the web console's routes do not exist
  std::string kv_compression = "exact";        // workers' method for requests that name none
};

}  // namespace leadline::coordinator
