#include "coordinator/text/pre_tokenizer.h"

#include <algorithm>

#include "coordinator/text/unicode_class.h"
#include "coordinator/text/utf8.h"

namespace leadline::coordinator {
namespace {

constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

std::string replace_spaces(std::string_view text, std::string_view with) {
  std::string out;
  out.reserve(text.size() + with.size() + text.size() / 2);
  for (char c : text) {
    if (c == ' ') {
      out.append(with);
    } else {
      out.push_back(c);
    }
  }
  return out;
}

// What happens to matches and the text between them, as the reference library's five behaviours define it.
template <typename Span>
std::vector<Span> merge_spans(const std::vector<Span>& in, SplitBehavior behavior) {
  std::vector<Span> out;
  bool previous = false;
  switch (behavior) {
    case SplitBehavior::isolated:
      return in;
    case SplitBehavior::removed:
      std::copy_if(in.begin(), in.end(), std::back_inserter(out), [](const Span& s) { return !s.match; });
      return out;
    case SplitBehavior::contiguous:
    case SplitBehavior::merged_with_previous:
      for (const Span& s : in) {
        const bool join = behavior == SplitBehavior::contiguous ? s.match == previous : s.match && !previous;
        if (join && !out.empty()) {
          out.back().end = s.end;
        } else {
          out.push_back(s);
        }
        previous = s.match;
      }
      return out;
    case SplitBehavior::merged_with_next:
      for (auto s = in.rbegin(); s != in.rend(); ++s) {
        if (s->match && !previous && !out.empty()) {
          out.back().begin = s->begin;
        } else {
          out.push_back(*s);
        }
        previous = s->match;
      }
      std::reverse(out.begin(), out.end());
      return out;
  }
  return out;
}

}  // namespace

Result<SplitPattern> PreTokenizer::gpt2_pattern() {
  return SplitPattern::compile(kGpt2Pattern);
}

Result<void> PreTokenizer::run(std::string_view text, bool at_origin, Work& work, const Sink& sink) const {
  return step(0, {text, at_origin}, work, sink);
}

// Isolated matches need no list: every match and every gap goes on as it is found.
Result<void> PreTokenizer::isolate(std::size_t index, Piece piece, const SplitPattern& pattern, Work& work,
                                   const Sink& sink) const {
  std::size_t done = 0;
  const auto emit = [&](std::size_t end) -> Result<void> {
    if (end == done) return {};
    const Piece part{piece.text.substr(done, end - done), piece.at_origin && done == 0};
    done = end;
    return step(index + 1, part, work, sink);
  };
  while (done < piece.text.size()) {
    auto found = pattern.find(piece.text, done, work.matcher);
    if (!found) return tl::unexpected(found.error());
    if (!found->has_value()) break;
    const MatchSpan span = **found;
    if (auto ok = emit(span.begin); !ok) return ok;
    if (auto ok = emit(span.end); !ok) return ok;
  }
  return emit(piece.text.size());
}

Result<void> PreTokenizer::split(std::size_t index, Piece piece, std::vector<Span> spans,
                                 SplitBehavior behavior, Work& work, const Sink& sink) const {
  for (const Span& s : merge_spans(spans, behavior)) {
    if (s.end == s.begin) continue;
    auto ok = step(index + 1, {piece.text.substr(s.begin, s.end - s.begin), piece.at_origin && s.begin == 0},
                   work, sink);
    if (!ok) return ok;
  }
  return {};
}

Result<void> PreTokenizer::step(std::size_t index, Piece piece, Work& work, const Sink& sink) const {
  if (piece.text.empty()) return {};
  if (index == steps_.size()) return sink(piece.text);
  const PreTokenizerStep& what = steps_[index];
  if (const auto* pattern = std::get_if<PatternSplit>(&what)) {
    if (pattern->behavior == SplitBehavior::isolated)
      return isolate(index, piece, pattern->pattern, work, sink);
    std::vector<Span> spans;
    std::size_t done = 0;
    while (done < piece.text.size()) {
      auto found = pattern->pattern.find(piece.text, done, work.matcher);
      if (!found) return tl::unexpected(found.error());
      if (!found->has_value()) break;
      if ((*found)->begin > done) spans.push_back({done, (*found)->begin, pattern->invert});
      spans.push_back({(*found)->begin, (*found)->end, !pattern->invert});
      done = (*found)->end;
    }
    if (done < piece.text.size()) spans.push_back({done, piece.text.size(), pattern->invert});
    return split(index, piece, std::move(spans), pattern->behavior, work, sink);
  }
  if (const auto* digits = std::get_if<DigitSplit>(&what)) {
    std::vector<Span> spans;
    for (std::size_t at = 0; at < piece.text.size();) {
      const std::size_t begin = at;
      const bool digit = is_numeric(next_code_point(piece.text, at));
      if (!digit && !spans.empty() && !spans.back().match) {
        spans.back().end = at;
      } else {
        spans.push_back({begin, at, digit});
      }
    }
    return split(index, piece, std::move(spans),
                 digits->individual ? SplitBehavior::isolated : SplitBehavior::contiguous, work, sink);
  }
  if (const auto* meta = std::get_if<MetaspaceSplit>(&what)) {
    std::string text = replace_spaces(piece.text, meta->replacement);
    const bool wanted = meta->prepend == MetaspaceSplit::Prepend::always ||
                        (meta->prepend == MetaspaceSplit::Prepend::first && piece.at_origin);
    if (wanted && text.compare(0, meta->replacement.size(), meta->replacement) != 0)
      text.insert(0, meta->replacement);
    work.kept.push_back(std::move(text));
    const Piece kept{work.kept.back(), piece.at_origin};
    if (!meta->split) return step(index + 1, kept, work, sink);
    std::vector<Span> spans;
    std::size_t done = 0;
    for (std::size_t at; (at = kept.text.find(meta->replacement, done)) != std::string_view::npos;) {
      if (at > done) spans.push_back({done, at, false});
      done = at + meta->replacement.size();
      spans.push_back({at, done, true});
    }
    if (done < kept.text.size()) spans.push_back({done, kept.text.size(), false});
    return split(index, kept, std::move(spans), SplitBehavior::merged_with_next, work, sink);
  }
  const auto& bytes = std::get<ByteLevelSplit>(what);
  if (bytes.add_prefix_space && piece.text.front() != ' ') {
    work.kept.push_back(" " + std::string(piece.text));
    piece.text = work.kept.back();
  }
  return bytes.pattern ? isolate(index, piece, *bytes.pattern, work, sink)
                       : step(index + 1, piece, work, sink);
}

}  // namespace leadline::coordinator
