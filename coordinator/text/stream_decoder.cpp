#include "coordinator/text/stream_decoder.h"

#include <algorithm>

#include "coordinator/text/utf8.h"

namespace leadline::coordinator {
namespace {

struct StopMatch {
  std::size_t begin, end, index;
};

// The stop that completes first, byte by byte; so the cut does not depend on how tokens divide the text. At
// one end the longest wins (nothing of it is shown), then the first listed.
std::optional<StopMatch> first_stop(const std::string& text, const std::vector<std::string>& stops) {
  std::optional<StopMatch> best;
  for (std::size_t i = 0; i < stops.size(); ++i) {
    if (stops[i].empty()) continue;  // would match everywhere; the request's check refuses it
    const std::size_t begin = text.find(stops[i]);
    if (begin == std::string::npos) continue;
    const std::size_t end = begin + stops[i].size();
    if (!best || end < best->end || (end == best->end && begin < best->begin)) best = {begin, end, i};
  }
  return best;
}

// Length of the longest end of `text` that a stop could still begin with.
std::size_t possible_stop(const std::string& text, const std::vector<std::string>& stops) {
  std::size_t held = 0;
  for (const std::string& stop : stops) {
    if (stop.empty()) continue;
    for (std::size_t n = std::min(stop.size() - 1, text.size()); n > held; --n) {
      if (text.compare(text.size() - n, n, stop, 0, n) == 0) held = n;
    }
  }
  return held;
}

}  // namespace

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, std::vector<std::string> stops,
                             bool skip_special_tokens)
    : tokenizer_(&tokenizer), stops_(std::move(stops)), skip_special_tokens_(skip_special_tokens) {}

StreamPiece StreamDecoder::push(TokenId token) {
  if (stopped_) return {};
  tokenizer_->append_bytes(token, skip_special_tokens_, pending_);
  if (at_start_ && !pending_.empty()) {
    at_start_ = false;
    if (tokenizer_->strips_leading_space() && pending_.front() == ' ') pending_.erase(0, 1);
  }
  return release(false);
}

StreamPiece StreamDecoder::finish() {
  if (stopped_) return {};
  StreamPiece piece = release(true);
  stopped_ = true;
  return piece;
}

StreamPiece StreamDecoder::release(bool at_end) {
  StreamPiece piece;
  if (const auto match = first_stop(pending_, stops_)) {
    append_lossy(std::string_view(pending_).substr(0, match->begin), piece.text);
    piece.stop = match->index;
    stopped_ = true;
    pending_.clear();
    return piece;
  }
  const std::size_t held = at_end ? 0 : std::max(possible_stop(pending_, stops_), incomplete_tail(pending_));
  const std::size_t ready = pending_.size() - held;
  append_lossy(std::string_view(pending_).substr(0, ready), piece.text);
  pending_.erase(0, ready);
  return piece;
}

}  // namespace leadline::coordinator
