#pragma once
// PackedCache: a rank's packed weights in a file of their own, so that the next start reads instead of
// packing. Not the format (packed_file) and not the packing (backend). Whatever is wrong with a file - torn,
// damaged, of another checkpoint, format, instruction set or rank - weights are packed from the checkpoint
// and the file is written again. Thread: the loading thread; PackedWriter has one of its own. Invariant: no
// byte of a file is used whose checksum does not match, and no file whose checkpoint digests are not those of
// the checkpoint.

#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "worker/backend/backend.h"
#include "worker/model/fingerprint.h"
#include "worker/model/packed_file.h"
#include "worker/model/packed_mapping.h"
#include "worker/model/weights.h"

namespace leadline::worker {

// Where packed weights go. `wanted`: "off", a directory, or "auto": beside the model if that can be written
// to, else `cache_home` (the user's cache folder; "" = none). Directories other than the model's get a folder
// per model. "" = nowhere. Pure.
std::string packed_directory(const std::string& wanted, const std::string& model_directory,
                             bool model_writable, const std::string& cache_home);
std::string packed_file_name(const PackedKey& key);

// What `backend` makes of a small matrix in `format`, hashed: packs of equal probes are laid out alike.
// configuration: its packed matrices can't be kept.
Result<std::string> packing_probe(Backend& backend, DType format);

// The stamps that may stand for the files' bytes: none if a file changed so shortly before `now_ns` that one
// more change could leave its stamp as it is.
std::vector<FileStamp> settled(const std::vector<FileStamp>& stamps, std::int64_t now_ns);

class PackedCache final : public PackedSource {
 public:
  // A missing or unusable file is a cache without matrices; `log` is told why. One that can't be mapped, or
  // should not be, is read.
  static std::unique_ptr<PackedCache> open(const std::string& path, const PackedKey& key, LoadLog log,
                                           bool mapped = true);
  ~PackedCache() override;
  PackedCache(const PackedCache&) = delete;
  PackedCache& operator=(const PackedCache&) = delete;

  // The checkpoint's digests, where its files are the very ones that they were made of; else none.
  [[nodiscard]] CheckpointDigests known_digests(const std::vector<FileStamp>& now) const;
  // Whether the file is of the checkpoint with these digests.
  [[nodiscard]] bool usable(const CheckpointDigests& digests) const;
  // Where the matrices lie; null: they were read.
  [[nodiscard]] const std::shared_ptr<PackedMapping>& mapping() const { return mapping_; }
  // malformed_file: the weights are to be packed after all.
  Result<std::unique_ptr<PackedMatrix>> find(const std::string& name, const PackedShape& shape,
                                             Backend& backend) override;
  // The checkpoint was hashed and is the file's: from the next start on these stamps say so. In place: a
  // header that is torn by it fails its checksum, and the file is made again.
  void put_stamps(std::vector<FileStamp> stamps);

 private:
  PackedCache(std::string path, LoadLog log) : path_(std::move(path)), log_(std::move(log)) {}
  Result<void> read_header(const PackedKey& key);
  Result<std::unique_ptr<PackedMatrix>> adopt(const PackedEntry& entry, Backend& backend) const;
  [[nodiscard]] bool read_chunk(const PackedEntry& entry, std::int64_t index,
                                std::span<std::byte> into) const;

  // Constant after open.
  const std::string path_;
  const LoadLog log_;
  int file_ = -1;
  bool valid_ = false;
  PackedHeader header_;
  std::int64_t head_bytes_ = 0, file_bytes_ = 0;
  std::unordered_map<std::string, std::size_t> by_name_;
  std::shared_ptr<PackedMapping> mapping_;
};

// Writes a file in the background, at a low priority: beside its place, then renamed into it. The
// matrices outlive the writer. One process at a time writes a file; a second one leaves it at that.
class PackedWriter {
 public:
  PackedWriter(std::string path, PackedHeader header, std::vector<const PackedMatrix*> matrices, LoadLog log);
  ~PackedWriter();  // stops within a chunk; what was not finished is not kept
  PackedWriter(const PackedWriter&) = delete;
  PackedWriter& operator=(const PackedWriter&) = delete;

 private:
  std::jthread thread_;
};

}  // namespace leadline::worker
