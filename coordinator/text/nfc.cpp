#include "coordinator/text/nfc.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <unordered_map>
#include <vector>

#include "coordinator/text/unicode_class.h"
#include "coordinator/text/utf8.h"

namespace leadline::coordinator {
namespace {

// Marks with a combining class that came after Unicode 9, as measured against the reference.
constexpr CodePointRange kLaterMarks[] = {
    {0x7FD, 0x7FD},     {0x898, 0x89F},     {0x8CA, 0x8D3},     {0x9FE, 0x9FE},     {0xC3C, 0xC3C},
    {0xD3B, 0xD3C},     {0xEBA, 0xEBA},     {0x1715, 0x1715},   {0x1ABF, 0x1ACE},   {0x1DF6, 0x1DFA},
    {0xA82C, 0xA82C},   {0x10D24, 0x10D27}, {0x10EAB, 0x10EAC}, {0x10EFD, 0x10EFF}, {0x10F46, 0x10F50},
    {0x10F82, 0x10F85}, {0x11070, 0x11070}, {0x1133B, 0x1133B}, {0x1145E, 0x1145E}, {0x11839, 0x1183A},
    {0x1193D, 0x1193E}, {0x11943, 0x11943}, {0x119E0, 0x119E0}, {0x11A34, 0x11A34}, {0x11A47, 0x11A47},
    {0x11A99, 0x11A99}, {0x11D42, 0x11D42}, {0x11D44, 0x11D45}, {0x11D97, 0x11D97}, {0x11F41, 0x11F42},
    {0x16FF0, 0x16FF1}, {0x1E08F, 0x1E08F}, {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE}, {0x1E2EC, 0x1E2EF},
    {0x1E4EC, 0x1E4EF}};
constexpr char32_t kLaterComposite = 0x11938;
constexpr char32_t kHangulFirst = 0xAC00, kHangulLast = 0xD7A3, kLead = 0x1100, kVowel = 0x1161,
                   kTrail = 0x11A7;
constexpr char32_t kLeads = 19, kVowels = 21, kTrails = 28;

struct Mark {
  char32_t code_point;
  std::uint8_t combining_class;
};

std::uint8_t combining_class(char32_t c) {
  if (c < 0x300) return 0;
  const auto value = utf8proc_get_property(static_cast<utf8proc_int32_t>(c))->combining_class;
  if (value == 0) return 0;
  for (const CodePointRange& r : kLaterMarks) {
    if (c >= r.first && c <= r.last) return 0;
  }
  return static_cast<std::uint8_t>(value);
}

void decompose(char32_t c, std::vector<char32_t>& out) {
  if (c >= kHangulFirst && c <= kHangulLast) {
    const char32_t index = c - kHangulFirst;
    out.push_back(kLead + index / (kVowels * kTrails));
    out.push_back(kVowel + index % (kVowels * kTrails) / kTrails);
    if (index % kTrails != 0) out.push_back(kTrail + index % kTrails);
    return;
  }
  if (c < 0xC0 || c == kLaterComposite) {
    out.push_back(c);
    return;
  }
  utf8proc_int32_t parts[8];  // the longest canonical decomposition has 4
  int boundary = 0;
  const auto count =
      utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), parts, 8, UTF8PROC_DECOMPOSE, &boundary);
  if (count < 1 || count > 8) {
    out.push_back(c);
    return;
  }
  for (int i = 0; i < count; ++i) out.push_back(static_cast<char32_t>(parts[i]));
}

std::uint64_t pair_key(char32_t first, char32_t second) {
  return std::uint64_t{first} << 32 | second;
}

// Not excluded from composition, as singletons (U+212B) and some scripts are: the library leaves it as it is.
bool stays_composed(char32_t c) {
  std::string text;
  append_code_point(c, text);
  utf8proc_uint8_t* composed = nullptr;
  const auto bytes = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                  static_cast<utf8proc_ssize_t>(text.size()), &composed,
                                  static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(composed, &std::free);
  return bytes > 0 &&
         std::string_view(reinterpret_cast<const char*>(composed), static_cast<std::size_t>(bytes)) == text;
}

// Every primary composite by its two parts: characters whose decomposition starts with a starter and that are
// not excluded.
std::unordered_map<std::uint64_t, char32_t> make_compositions() {
  struct Composite {
    char32_t code_point;
    std::vector<char32_t> parts;
  };
  std::vector<Composite> composites;
  for (char32_t c = 0xC0; c < 0x30000; ++c) {
    if (c >= kHangulFirst && c <= 0xDFFF) continue;
    const auto* property = utf8proc_get_property(static_cast<utf8proc_int32_t>(c));
    if (property->combining_class != 0) continue;
    std::vector<char32_t> parts;
    decompose(c, parts);
    if (parts.size() >= 2 && combining_class(parts[0]) == 0 && stays_composed(c))
      composites.push_back({c, std::move(parts)});
  }
  std::sort(composites.begin(), composites.end(),
            [](const Composite& a, const Composite& b) { return a.parts.size() < b.parts.size(); });
  std::unordered_map<std::uint64_t, char32_t> out;
  for (const Composite& composite : composites) {
    char32_t first = composite.parts[0];
    bool reachable = true;
    for (std::size_t i = 1; i + 1 < composite.parts.size(); ++i) {
      const auto found = out.find(pair_key(first, composite.parts[i]));
      reachable = reachable && found != out.end();
      if (reachable) first = found->second;
    }
    if (reachable) out.emplace(pair_key(first, composite.parts.back()), composite.code_point);
  }
  return out;
}

char32_t compose(char32_t first, char32_t second) {  // 0: none
  static const std::unordered_map<std::uint64_t, char32_t> kCompositions = make_compositions();
  if (first >= kLead && first < kLead + kLeads && second >= kVowel && second < kVowel + kVowels) {
    return kHangulFirst + ((first - kLead) * kVowels + (second - kVowel)) * kTrails;
  }
  if (first >= kHangulFirst && first <= kHangulLast && (first - kHangulFirst) % kTrails == 0 &&
      second > kTrail && second < kTrail + kTrails) {
    return first + (second - kTrail);
  }
  const auto found = kCompositions.find(pair_key(first, second));
  return found == kCompositions.end() ? 0 : found->second;
}

std::vector<Mark> decompose_and_order(std::string_view text) {
  std::vector<Mark> out;
  std::vector<char32_t> parts;
  for (std::size_t at = 0; at < text.size();) {
    parts.clear();
    decompose(next_code_point(text, at), parts);
    for (const char32_t c : parts) out.push_back({c, combining_class(c)});
  }
  for (auto run = out.begin(); run != out.end();) {
    if (run->combining_class == 0) {
      ++run;
      continue;
    }
    auto end = std::find_if(run, out.end(), [](const Mark& m) { return m.combining_class == 0; });
    std::stable_sort(run, end,
                     [](const Mark& a, const Mark& b) { return a.combining_class < b.combining_class; });
    run = end;
  }
  return out;
}

}  // namespace

std::string to_nfc(std::string_view text) {
  // Below U+0300 (lead bytes below 0xCC) everything is composed and combines with nothing before it.
  if (std::none_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) >= 0xCC; })) {
    return std::string(text);
  }
  std::vector<Mark> marks = decompose_and_order(text);
  std::size_t kept = 0, starter = SIZE_MAX;
  int last_class = -1;  // of what stands between the starter and here; -1: nothing
  for (const Mark mark : marks) {
    const bool blocked = last_class >= 0 && last_class >= mark.combining_class;
    if (starter != SIZE_MAX && !blocked) {
      if (const char32_t composed = compose(marks[starter].code_point, mark.code_point); composed != 0) {
        marks[starter].code_point = composed;
        continue;
      }
    }
    if (mark.combining_class == 0) {
      starter = kept;
      last_class = -1;
    } else {
      last_class = mark.combining_class;
    }
    marks[kept++] = mark;
  }
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < kept; ++i) append_code_point(marks[i].code_point, out);
  return out;
}

}  // namespace leadline::coordinator
