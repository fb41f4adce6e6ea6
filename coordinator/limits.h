#pragma once
// Limits: the one table of what a client may ask for and how long anything may take or grow. Everything that
// is bounded in the coordinator is bounded by a line here. Not the model's length (ServedModel) and not the
// workers' own limits. Thread: values, constant after start.

#include <cstddef>
#include <cstdint>

namespace leadline::coordinator {

struct Limits {
  // Connections and framing (http/connection, http/request_reader)
  std::size_t connections = 2048;                // at the cap the longest silent connection makes room
  std::size_t target_bytes = 4096;               // 414 beyond
  std::size_t header_bytes = 32 * 1024;          // request line and fields; 431 beyond
  std::size_t header_fields = 100;               // 431 beyond
  std::size_t body_bytes = 8 * 1024 * 1024;      // 413 beyond
  std::size_t bodies_bytes = 256 * 1024 * 1024;  // all bodies being read or parsed together; 503 beyond
  std::uint64_t header_timeout_ms = 10'000;      // connect or first byte -> whole head; 408
  std::uint64_t body_timeout_ms = 60'000;        // head -> whole body; 408
  std::uint64_t idle_timeout_ms = 75'000;        // between requests of one connection; closed silently
  std::uint64_t write_timeout_ms = 60'000;       // no progress of a write; closed
  std::size_t stream_buffer_bytes =
      4 * 1024 * 1024;  // events that a slow reader has not taken; closed and cancelled beyond
  std::uint64_t keep_alive_ms = 10'000;  // a comment on a stream that is silent for so long
  std::size_t request_id_bytes = 128;    // X-Request-Id: [A-Za-z0-9._:-]; replaced otherwise

  // JSON (http/json_guard)
  std::size_t json_depth = 64;
  std::size_t json_values = 1'000'000;

  // Fields of a request (http/completion_request)
  std::size_t messages = 4096;
  std::size_t prompts = 128;  // in a list of prompts
  std::uint32_t n = 128;
  std::size_t choices = 128;      // n times prompts
  std::size_t stops = 16;         // stop strings
  std::size_t stop_bytes = 1024;  // of one stop string
  std::size_t stop_token_ids = 256;
  std::size_t logit_bias = 1024;  // entries
  std::int32_t top_logprobs = 20;
  std::int32_t priority = 100;  // [-priority, priority]
  std::uint64_t deadline_ms = 3'600'000;
  std::size_t cache_key_bytes = 256;  // prompt_cache_key
  std::size_t ignored_header_bytes = 1024;

  // Waiting in the coordinator (admission, dispatcher)
  std::size_t waiting_requests = 512;        // sequences not yet on a worker; 429 beyond
  std::size_t waiting_tokens = 4'000'000;    // their prompt tokens; 429 beyond
  std::uint64_t queue_timeout_ms = 120'000;  // longest wait for a worker; 503
  std::uint64_t no_worker_timeout_ms =
      120'000;  // longest wait while no worker is ready (they load, they restart); 503
  std::uint32_t worker_surplus =
      4;  // sequences sent to a worker beyond its max_sequences, so that it never idles
  std::uint32_t placements =
      4;  // times that one sequence may be handed back or retried before it has streamed
  std::uint64_t hand_back_pause_ms = 100;  // a worker that handed work back gets none for so long
  std::uint64_t stop_grace_ms = 2'000;  // after a stop string: wait for the worker's Finish (usage) so long

  // Memory of past turns (routing)
  std::size_t sessions = 4096;
  std::size_t session_bytes = 64 * 1024 * 1024;  // texts and token ids of all sessions
  std::uint64_t session_ttl_ms = 3'600'000;
  std::size_t kv_stories = 2048;        // choices that GET /v1/kv/explain can still tell of
  std::size_t prefix_blocks = 262'144;  // known (block, worker) pairs of the sent-prefix history

  // Shutdown
  std::uint64_t drain_ms = 30'000;  // SIGTERM -> streams that still run are ended with an error event
};

}  // namespace leadline::coordinator
