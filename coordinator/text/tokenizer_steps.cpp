#include "coordinator/text/tokenizer_steps.h"

#include "coordinator/text/utf8.h"

namespace leadline::coordinator {
namespace {

// {"String": "..."} or {"Regex": "..."}.
struct TextOrPattern {
  std::string literal;
  std::optional<SplitPattern> pattern;
};

Result<TextOrPattern> read_pattern(const JsonField& field) {
  TextOrPattern out;
  if (field.has("String")) {
    auto text = field.string("String");
    if (!text) return tl::unexpected(text.error());
    if (text->empty()) return field.unsupported();
    out.literal = std::move(*text);
    return out;
  }
  auto source = field.string("Regex");
  if (!source) return tl::unexpected(source.error());
  auto pattern = SplitPattern::compile(*source);
  if (!pattern) return fail(pattern.error().code, field.path() + ".Regex: " + pattern.error().message);
  out.pattern = std::move(*pattern);
  return out;
}

Result<char32_t> read_character(const JsonField& field, const char* key, const char* otherwise) {
  auto text = field.string(key, otherwise);
  if (!text) return tl::unexpected(text.error());
  std::size_t at = 0;
  if (text->empty()) return field.at(key).malformed("one character");
  const char32_t c = next_code_point(*text, at);
  if (at != text->size()) return field.at(key).malformed("one character");
  return c;
}

// Flattens {"type": "Sequence", <list_key>: [...]} and calls `read` on each leaf.
template <typename Read>
Result<void> each_step(const JsonField& field, const char* list_key, int depth, std::size_t& steps,
                       const Read& read) {
  if (field.null()) return {};
  auto type = field.string("type");
  if (!type) return tl::unexpected(type.error());
  if (*type != "Sequence") {
    if (++steps > kMaxSteps) return field.malformed("at most 64 steps");
    return read(field, *type);
  }
  const JsonField list = field.at(list_key);
  if (!list.value().is_array()) return list.malformed("an array");
  if (depth > 4) return field.malformed("sequences at most 4 deep");
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (auto ok = each_step(list.at(i), list_key, depth + 1, steps, read); !ok) return ok;
  }
  return {};
}

Result<NormalizerStep> normalizer_step(const JsonField& field, const std::string& type) {
  if (type == "NFC") return NormalizerStep{ComposeNfc{}};
  if (type == "Prepend") {
    auto text = field.string("prepend");
    if (!text) return tl::unexpected(text.error());
    return NormalizerStep{PrependText{std::move(*text)}};
  }
  if (type != "Replace") return field.unsupported();
  auto pattern = read_pattern(field.at("pattern"));
  if (!pattern) return tl::unexpected(pattern.error());
  auto with = field.string("content");
  if (!with) return tl::unexpected(with.error());
  return NormalizerStep{
      ReplaceText{std::move(pattern->literal), std::move(pattern->pattern), std::move(*with)}};
}

Result<PreTokenizerStep> pattern_split(const JsonField& field) {
  PatternSplit out;
  auto pattern = read_pattern(field.at("pattern"));
  if (!pattern) return tl::unexpected(pattern.error());
  if (!pattern->pattern) {
    auto literal = SplitPattern::literal(pattern->literal);
    if (!literal) return tl::unexpected(literal.error());
    pattern->pattern = std::move(*literal);
  }
  out.pattern = std::move(*pattern->pattern);
  auto behavior = field.string("behavior");
  if (!behavior) return tl::unexpected(behavior.error());
  if (*behavior == "Removed") {
    out.behavior = SplitBehavior::removed;
  } else if (*behavior == "Isolated") {
    out.behavior = SplitBehavior::isolated;
  } else if (*behavior == "MergedWithPrevious") {
    out.behavior = SplitBehavior::merged_with_previous;
  } else if (*behavior == "MergedWithNext") {
    out.behavior = SplitBehavior::merged_with_next;
  } else if (*behavior == "Contiguous") {
    out.behavior = SplitBehavior::contiguous;
  } else {
    return field.at("behavior").unsupported();
  }
  auto invert = field.boolean("invert", false);
  if (!invert) return tl::unexpected(invert.error());
  out.invert = *invert;
  return PreTokenizerStep{std::move(out)};
}

// Newer files say prepend_scheme, older ones add_prefix_space.
Result<std::string> read_prepend_scheme(const JsonField& field) {
  auto old = field.boolean("add_prefix_space", true);
  if (!old) return tl::unexpected(old.error());
  auto scheme = field.string("prepend_scheme", *old ? "always" : "never");
  if (scheme && *scheme != "always" && *scheme != "first" && *scheme != "never") {
    return field.at("prepend_scheme").unsupported();
  }
  return scheme;
}

Result<PreTokenizerStep> metaspace_split(const JsonField& field) {
  MetaspaceSplit out;
  auto replacement = read_character(field, "replacement", "\xE2\x96\x81");
  auto scheme = read_prepend_scheme(field);
  auto split = field.boolean("split", true);
  if (!replacement) return tl::unexpected(replacement.error());
  if (!scheme) return tl::unexpected(scheme.error());
  if (!split) return tl::unexpected(split.error());
  out.replacement.clear();
  append_code_point(*replacement, out.replacement);
  out.prepend = *scheme == "always"  ? MetaspaceSplit::Prepend::always
                : *scheme == "first" ? MetaspaceSplit::Prepend::first
                                     : MetaspaceSplit::Prepend::never;
  out.split = *split;
  return PreTokenizerStep{std::move(out)};
}

Result<PreTokenizerStep> byte_level_split(const JsonField& field) {
  ByteLevelSplit out;
  auto prefix = field.boolean("add_prefix_space", true);
  auto regex = field.boolean("use_regex", true);
  if (!prefix) return tl::unexpected(prefix.error());
  if (!regex) return tl::unexpected(regex.error());
  out.add_prefix_space = *prefix;
  if (*regex) {
    auto pattern = PreTokenizer::gpt2_pattern();
    if (!pattern) return tl::unexpected(pattern.error());
    out.pattern = std::move(*pattern);
  }
  return PreTokenizerStep{std::move(out)};
}

Result<DecoderStep> decoder_step(const JsonField& field, const std::string& type) {
  if (type == "ByteLevel") return DecoderStep{DecodeByteLevel{}};
  if (type == "ByteFallback") return DecoderStep{DecodeByteFallback{}};
  if (type == "Fuse") return DecoderStep{DecodeFuse{}};
  if (type == "Replace") {
    auto pattern = read_pattern(field.at("pattern"));
    if (!pattern) return tl::unexpected(pattern.error());
    auto with = field.string("content");
    if (!with) return tl::unexpected(with.error());
    return DecoderStep{
        DecodeReplace{std::move(pattern->literal), std::move(pattern->pattern), std::move(*with)}};
  }
  if (type == "Strip") {
    auto content = read_character(field, "content", nullptr);
    auto start = field.integer("start", 0, 1 << 20);
    auto stop = field.integer("stop", 0, 1 << 20);
    if (!content) return tl::unexpected(content.error());
    if (!start) return tl::unexpected(start.error());
    if (!stop) return tl::unexpected(stop.error());
    return DecoderStep{
        DecodeStrip{*content, static_cast<std::size_t>(*start), static_cast<std::size_t>(*stop)}};
  }
  if (type != "Metaspace") return field.unsupported();
  auto replacement = read_character(field, "replacement", "\xE2\x96\x81");
  auto scheme = read_prepend_scheme(field);
  if (!replacement) return tl::unexpected(replacement.error());
  if (!scheme) return tl::unexpected(scheme.error());
  return DecoderStep{DecodeMetaspace{*replacement, *scheme != "never"}};
}

}  // namespace

Result<std::vector<NormalizerStep>> read_normalizer(const JsonField& field) {
  std::vector<NormalizerStep> out;
  std::size_t steps = 0;
  auto ok = each_step(field, "normalizers", 0, steps,
                      [&](const JsonField& f, const std::string& type) -> Result<void> {
                        auto step = normalizer_step(f, type);
                        if (!step) return tl::unexpected(step.error());
                        out.push_back(std::move(*step));
                        return {};
                      });
  if (!ok) return tl::unexpected(ok.error());
  return out;
}

Result<PreTokenizerPlan> read_pre_tokenizer(const JsonField& field) {
  PreTokenizerPlan out;
  std::size_t steps = 0;
  auto ok = each_step(
      field, "pretokenizers", 0, steps, [&](const JsonField& f, const std::string& type) -> Result<void> {
        if (out.byte_level)
          return f.unsupported();  // words are bytes from there on: nothing may look at characters
        Result<PreTokenizerStep> step = type == "Split"       ? pattern_split(f)
                                        : type == "Metaspace" ? metaspace_split(f)
                                        : type == "ByteLevel" ? byte_level_split(f)
                                                              : Result<PreTokenizerStep>(f.unsupported());
        if (type == "Digits") {
          auto individual = f.boolean("individual_digits", false);
          if (!individual) return tl::unexpected(individual.error());
          step = PreTokenizerStep{DigitSplit{*individual}};
        }
        if (!step) return tl::unexpected(step.error());
        out.byte_level = type == "ByteLevel";
        out.steps.push_back(std::move(*step));
        return {};
      });
  if (!ok) return tl::unexpected(ok.error());
  return out;
}

Result<std::vector<DecoderStep>> read_decoder(const JsonField& field) {
  std::vector<DecoderStep> out;
  std::size_t steps = 0;
  auto ok = each_step(field, "decoders", 0, steps,
                      [&](const JsonField& f, const std::string& type) -> Result<void> {
                        auto step = decoder_step(f, type);
                        if (!step) return tl::unexpected(step.error());
                        out.push_back(std::move(*step));
                        return {};
                      });
  if (!ok) return tl::unexpected(ok.error());
  return out;
}

}  // namespace leadline::coordinator
