#pragma once
// chat_trace: an access log as a chat server would write it: sessions that begin with one of a few system
// prompts (shared, by Zipf), take turns with gaps between them, grow by each turn, and end; a share of
// requests are one-off documents that never return, and a batch job may read a fixed set of documents in
// turn, over and over. workload() has the mixtures by name. Pure: a function of its options. Not a substitute
// for a recorded log; what kv replay and its tests run on where there is none.

#include <optional>
#include <string_view>
#include <vector>

#include "kvstore/replay/access_record.h"

namespace leadline::kvstore {

struct ChatTraceOptions {
  std::uint64_t seed = 1;
  double seconds = 4 * 3600;
  double sessions_per_s = 0.15;
  double one_off_share = 0.25;  // of sessions: one long request, never again
  int system_prompts = 40;      // of system_blocks_mean blocks on average, drawn by Zipf(zipf)
  double zipf = 1.1;
  double system_blocks_mean = 24;
  double turns_mean = 5;          // geometric
  double turn_gap_median_s = 45;  // lognormal
  double turn_gap_sigma = 1.2;
  double user_blocks_mean = 6, answer_blocks_mean = 12, document_blocks_mean = 120;
  int loop_documents = 0;  // read in turn, one every loop_gap_s, of document_blocks_mean blocks on average
  double loop_gap_s = 10;
  std::uint32_t block_bytes = 98304;  // before the codec; blocks differ by a fifth
  double cost_per_block_s = 0.016;    // of computing it at depth 0; grows with depth
};

// Mixtures that a server may meet; each is hard on another policy.
//   chat      sessions of several turns, a quarter one-off documents
//   prefixes  many single questions over long prompts that are shared: agents with tools, retrieval
//   scans     chats beside a flood of documents that never return
//   loop      chats beside a batch job that goes round a set of documents
inline constexpr std::string_view kWorkloads[] = {"chat", "prefixes", "scans", "loop"};
std::optional<ChatTraceOptions> workload(std::string_view name);

std::vector<AccessRecord> chat_trace(const ChatTraceOptions& options);

}  // namespace leadline::kvstore
