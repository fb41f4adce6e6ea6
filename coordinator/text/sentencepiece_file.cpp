#include "coordinator/text/sentencepiece_file.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "coordinator/text/utf8.h"
#include "coordinator/text/vocabulary.h"

namespace leadline::coordinator {
namespace {

// One field of a message. Varints and fixed32 are in `number`, length-delimited bytes in `bytes`.
struct WireField {
  std::uint32_t number_of = 0;
  int type = 0;
  std::uint64_t number = 0;
  std::string_view bytes;
};

class WireReader {
 public:
  WireReader(std::string_view message, std::string name)
      : left_(message), size_(message.size()), name_(std::move(name)) {}

  bool done() const { return left_.empty(); }

  Result<WireField> next() {
    WireField field;
    std::uint64_t tag = 0;
    if (!varint(tag) || tag >> 3 == 0 || tag >> 3 > 0x1FFFFFFF) return malformed("tag");
    field.number_of = static_cast<std::uint32_t>(tag >> 3);
    field.type = static_cast<int>(tag & 7);
    switch (field.type) {
      case 0:
        if (!varint(field.number)) return malformed("number of field " + std::to_string(field.number_of));
        return field;
      case 1:
      case 5: {
        const std::size_t bytes = field.type == 1 ? 8 : 4;
        if (left_.size() < bytes)
          return malformed("fixed number of field " + std::to_string(field.number_of));
        for (std::size_t i = 0; i < bytes; ++i) {
          field.number |= std::uint64_t{static_cast<unsigned char>(left_[i])} << (8 * i);
        }
        left_.remove_prefix(bytes);
        return field;
      }
      case 2: {
        std::uint64_t length = 0;
        if (!varint(length) || length > left_.size())
          return malformed("length of field " + std::to_string(field.number_of));
        field.bytes = left_.substr(0, length);
        left_.remove_prefix(length);
        return field;
      }
      default:
        return malformed("wire type " + std::to_string(field.type));
    }
  }

  tl::unexpected<Error> malformed(const std::string& what) const {
    return fail(Errc::malformed_file,
                name_ + ": " + what + " at byte " + std::to_string(size_ - left_.size()));
  }

 private:
  bool varint(std::uint64_t& out) {
    out = 0;
    for (int i = 0; i < 10 && !left_.empty(); ++i) {
      const auto byte = static_cast<unsigned char>(left_.front());
      left_.remove_prefix(1);
      if (i == 9 && byte > 1) return false;
      out |= std::uint64_t{byte & 0x7Fu} << (7 * i);
      if ((byte & 0x80) == 0) return true;
    }
    return false;
  }

  std::string_view left_;
  std::size_t size_;
  std::string name_;
};

Result<SentencePiece> parse_piece(std::string_view message, std::size_t index) {
  SentencePiece piece;
  WireReader reader(message, "pieces[" + std::to_string(index) + "]");
  while (!reader.done()) {
    auto field = reader.next();
    if (!field) return tl::unexpected(field.error());
    if (field->number_of == 1 && field->type == 2) {
      piece.text = field->bytes;
    } else if (field->number_of == 2 && field->type == 5) {
      piece.score = std::bit_cast<float>(static_cast<std::uint32_t>(field->number));
    } else if (field->number_of == 3 && field->type == 0) {
      if (field->number < 1 || field->number > 6)
        return reader.malformed("type " + std::to_string(field->number));
      piece.type = static_cast<PieceType>(field->number);
    }
  }
  if (piece.text.empty() || piece.text.size() > kMaxTokenTextBytes)
    return reader.malformed("text not of 1 to 4096 bytes");
  if (well_formed_prefix(piece.text) != piece.text.size()) return reader.malformed("text not UTF-8");
  if (!std::isfinite(piece.score)) return reader.malformed("score not finite");
  return piece;
}

Result<void> parse_trainer(std::string_view message, SentencePieceFile& out) {
  WireReader reader(message, "trainer_spec");
  while (!reader.done()) {
    auto field = reader.next();
    if (!field) return tl::unexpected(field.error());
    if (field->type != 0) continue;
    const auto value = static_cast<std::int64_t>(field->number);
    if (field->number_of == 3) out.model_type = value;
    if (field->number_of == 24) out.whitespace_as_suffix = value != 0;
    if (field->number_of == 35) out.byte_fallback = value != 0;
    if (field->number_of == 41) out.bos_id = static_cast<std::int32_t>(value);
    if (field->number_of == 42) out.eos_id = static_cast<std::int32_t>(value);
  }
  return {};
}

Result<void> parse_normalizer(std::string_view message, SentencePieceFile& out) {
  WireReader reader(message, "normalizer_spec");
  while (!reader.done()) {
    auto field = reader.next();
    if (!field) return tl::unexpected(field.error());
    if (field->number_of == 2 && field->type == 2) out.has_charsmap = !field->bytes.empty();
    if (field->type != 0) continue;
    if (field->number_of == 3) out.add_dummy_prefix = field->number != 0;
    if (field->number_of == 4) out.remove_extra_whitespaces = field->number != 0;
    if (field->number_of == 5) out.escape_whitespaces = field->number != 0;
  }
  return {};
}

Result<void> parse_denormalizer(std::string_view message, SentencePieceFile& out) {
  WireReader reader(message, "denormalizer_spec");
  while (!reader.done()) {
    auto field = reader.next();
    if (!field) return tl::unexpected(field.error());
    if (field->number_of == 2 && field->type == 2) out.has_denormalizer = !field->bytes.empty();
  }
  return {};
}

}  // namespace

Result<SentencePieceFile> parse_sentencepiece_file(std::string_view file) {
  SentencePieceFile out;
  WireReader reader(file, "model");
  while (!reader.done()) {
    auto field = reader.next();
    if (!field) return tl::unexpected(field.error());
    if (field->type != 2) continue;
    Result<void> ok;
    if (field->number_of == 1) {
      if (out.pieces.size() >= kMaxVocabulary) return reader.malformed("more than 2000000 pieces");
      auto piece = parse_piece(field->bytes, out.pieces.size());
      if (!piece) return tl::unexpected(piece.error());
      out.pieces.push_back(std::move(*piece));
    } else if (field->number_of == 2) {
      ok = parse_trainer(field->bytes, out);
    } else if (field->number_of == 3) {
      ok = parse_normalizer(field->bytes, out);
    } else if (field->number_of == 5) {
      ok = parse_denormalizer(field->bytes, out);
    }
    if (!ok) return tl::unexpected(ok.error());
  }
  if (out.pieces.empty()) return fail(Errc::malformed_file, "model: no pieces");
  return out;
}

}  // namespace leadline::coordinator
