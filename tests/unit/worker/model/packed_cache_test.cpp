#include "worker/model/packed_cache.h"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <thread>

#include "tests/support/scratch_directory.h"
#include "tests/support/thread_communicator.h"
#include "tests/support/tiny_model.h"
#include "worker/model/transformer.h"

// What must hold: a second start gives the very weights of the first, whatever lies in the cache's place.

namespace leadline::worker {
namespace {

namespace fs = std::filesystem;
using tests::TinyModel;

class PackedCacheTest : public ::testing::Test {
 protected:
  struct Loaded {
    std::unique_ptr<Backend> backend;
    std::unique_ptr<transport::Communicator> ranks;
    std::unique_ptr<Transformer> model;
    [[nodiscard]] std::vector<float> logits() const {
      auto pool = *backend->allocate_kv({64, 16, DType::f32});
      const std::vector<std::int32_t> tokens{3, 1, 4, 1, 5}, wanted{4};
      const std::vector<std::uint32_t> table{0};
      SequenceRows rows;
      rows.rows = 5;
      rows.kv.table = table.data();
      rows.kv.scale = 4;
      rows.kv.head_step = 1;
      const auto out = *model->forward({tokens, std::span(&rows, 1), 2, wanted, {}, {}}, *pool);
      return {out.row(0), out.row(0) + out.cols};
    }
  };

  Loaded load(const std::string& weights = "int8", const std::string& isa = "scalar") {
    Loaded loaded;
    BackendOptions backend;
    backend.device = "cpu";
    backend.isa = isa;
    backend.threads = 2;
    loaded.backend = std::move(*make_backend(backend));
    loaded.ranks = std::move(tests::make_thread_group(1)[0]);
    TransformerOptions options;
    options.model_directory = model_->directory();
    options.weights = weights;
    options.max_positions = 64;
    options.packed_directory = directory_.path() + "/packed";
    options.packed_mapped = mapped_;
    options.packed_move_after = move_after_;
    options.log = [this](std::string_view line) {
      const std::lock_guard lock(mutex_);
      said_ += std::string(line) + "\n";
    };
    auto model =
        Transformer::load(*ModelConfig::load(model_->directory()), options, *loaded.backend, *loaded.ranks);
    EXPECT_TRUE(model.has_value()) << model.error().message;
    if (model) loaded.model = std::move(*model);
    return loaded;
  }

  // What was said since the last call.
  std::string said() {
    const std::lock_guard lock(mutex_);
    return std::exchange(said_, {});
  }
  // Until the background has written, or a minute.
  std::string said_until(const std::string& what) {
    std::string all;
    for (int i = 0; i < 6000 && all.find(what) == std::string::npos; ++i) {
      all += said();
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    EXPECT_NE(all.find(what), std::string::npos) << all;
    return all;
  }
  [[nodiscard]] std::string file() const {
    for (const auto& entry : fs::directory_iterator(directory_.path() + "/packed")) return entry.path();
    return {};
  }
  std::vector<float> write_first() {
    const Loaded first = load();
    said_until("packed weights written");
    return first.logits();
  }

  std::unique_ptr<TinyModel> model_ =
      std::make_unique<TinyModel>(tests::tiny_config("llama", "LlamaForCausalLM"));
  tests::ScratchDirectory directory_;
  bool mapped_ = true;
  std::chrono::milliseconds move_after_ = std::chrono::hours(1);
  std::mutex mutex_;
  std::string said_;
};

TEST_F(PackedCacheTest, TheSecondStartHasTheWeightsOfTheFirst) {
  for (const char* weights : {"f32", "bf16", "f16", "int8", "int4"}) {
    Loaded first = load(weights);
    EXPECT_NE(said_until("packed weights written").find("no packed weights"), std::string::npos);
    for (const bool mapped : {true, false}) {
      mapped_ = mapped;
      Loaded second = load(weights);
      const std::string says = said();
      EXPECT_NE(says.find("packed weights read"), std::string::npos) << weights;
      EXPECT_EQ(says.find(", mapped") != std::string::npos, mapped) << says;
      EXPECT_EQ(second.model->weight_bytes_to_come() > 0, mapped);
      EXPECT_EQ(first.logits(), second.logits()) << weights;
      EXPECT_EQ(first.model->fingerprint(), second.model->fingerprint());
      EXPECT_EQ(first.model->weight_bytes(), second.model->weight_bytes());
    }
  }
}

TEST_F(PackedCacheTest, WeightsAreTheSameWhileAndAfterTheyMove) {
  const std::vector<float> right = write_first();
  move_after_ = std::chrono::milliseconds(0);
  const Loaded moving = load();
  EXPECT_EQ(moving.logits(), right);
  said_until("packed weights moved into memory");
  EXPECT_EQ(moving.model->weight_bytes_to_come(), 0);
  EXPECT_EQ(moving.logits(), right);
}

TEST_F(PackedCacheTest, AFileIsReplacedNotWrittenTo) {
  const std::vector<float> right = write_first();
  const Loaded reads_the_file = load();
  // Other weights of the same outline take the file's name.
  const std::unique_ptr<TinyModel> kept = std::exchange(
      model_, std::make_unique<TinyModel>(tests::tiny_config("llama", "LlamaForCausalLM"), "F32", 2));
  const std::string name = file();
  const Loaded other = load();
  said_until("packed weights written");
  EXPECT_EQ(file(), name);
  EXPECT_NE(other.logits(), right);
  EXPECT_EQ(reads_the_file.logits(), right);
}

TEST_F(PackedCacheTest, ADamagedFileIsPackedAgainAndReplaced) {
  const std::vector<float> right = write_first();
  const std::string path = file();
  const auto size = static_cast<std::int64_t>(fs::file_size(path));
  std::ifstream in(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(in)), {});
  // The magic, the header, and matrices to the last byte that is one's (the end may be filling).
  for (const bool mapped : {true, false}) {
    mapped_ = mapped;
    for (const std::int64_t at : {std::int64_t{3}, std::int64_t{200}, size / 2, size * 3 / 4, size - 65}) {
      std::string damaged = bytes;
      damaged[static_cast<std::size_t>(at)] = static_cast<char>(damaged[static_cast<std::size_t>(at)] ^ 1);
      std::ofstream(path, std::ios::binary) << damaged;
      const Loaded again = load();
      EXPECT_EQ(again.logits(), right) << at;
      EXPECT_EQ(said_until("packed weights written").find("weights read"), std::string::npos) << at;
    }
  }
  const Loaded healed = load();
  EXPECT_NE(said().find("packed weights read"), std::string::npos);
  EXPECT_EQ(healed.logits(), right);
}

TEST_F(PackedCacheTest, ATornFileIsPackedAgain) {
  const std::vector<float> right = write_first();
  for (const std::uintmax_t size :
       {std::uintmax_t{0}, std::uintmax_t{10}, std::uintmax_t{2000}, fs::file_size(file()) - 1}) {
    fs::resize_file(file(), size);
    const Loaded again = load();
    EXPECT_EQ(again.logits(), right) << size;
    EXPECT_EQ(said_until("packed weights written").find("weights read"), std::string::npos) << size;
  }
}

TEST_F(PackedCacheTest, AnotherCheckpointsFileIsNotUsed) {
  const std::vector<float> right = write_first();
  // The same outline, other weights: only the digests tell.
  model_ = std::make_unique<TinyModel>(tests::tiny_config("llama", "LlamaForCausalLM"), "F32", 2);
  const Loaded other = load();
  EXPECT_NE(other.logits(), right);
  EXPECT_NE(said().find("made of another checkpoint"), std::string::npos);
}

TEST_F(PackedCacheTest, ACheckpointChangedInItsPlaceIsNoticed) {
  write_first();
  const std::string path = model_->directory() + "/model.safetensors";
  std::fstream weights(path, std::ios::in | std::ios::out | std::ios::binary);
  weights.seekp(-1, std::ios::end);
  weights.put('\x3f');
  weights.close();
  const Loaded changed = load();
  EXPECT_NE(said_until("packed weights written").find("made of another checkpoint"), std::string::npos);
}

TEST_F(PackedCacheTest, FilesOfOtherFormatsAndInstructionSetsLieBesideEachOther) {
  write_first();
  const Loaded other = load("int4");
  said_until("packed weights written");
  std::size_t files = 0;
  for (const auto& entry : fs::directory_iterator(directory_.path() + "/packed"))
    files += entry.is_regular_file();
  EXPECT_EQ(files, 2u);
}

TEST(PackedDirectory, IsBesideTheModelOrInTheCacheFolder) {
  EXPECT_EQ(packed_directory("off", "/m", true, "/c"), "");
  EXPECT_EQ(packed_directory("auto", "/m", true, "/c"), "/m/leadline-packed");
  const std::string elsewhere = packed_directory("auto", "/m", false, "/c");
  EXPECT_EQ(elsewhere.rfind("/c/weights/", 0), 0u);
  EXPECT_NE(packed_directory("auto", "/n", false, "/c"), elsewhere) << "a folder per model";
  EXPECT_EQ(packed_directory("auto", "/m", false, ""), "");
  EXPECT_EQ(packed_directory("/d", "/m", true, "/c").rfind("/d/", 0), 0u);
}

TEST(PackedStamps, CountOnlyWhenTheFilesAreOlderThanAnyClocksGrain) {
  const std::int64_t now = 1'000'000'000'000;
  const FileStamp old{"a", 1, now - 60'000'000'000, now - 60'000'000'000, 1};
  FileStamp fresh = old;
  fresh.changed_ns = now - 1'000'000;
  EXPECT_EQ(settled({old}, now).size(), 1u);
  EXPECT_TRUE(settled({old, fresh}, now).empty());
}

TEST(PackedCacheKnows, TheDigestsOnlyOfUnchangedFiles) {
  tests::ScratchDirectory directory;
  PackedHeader header;
  header.key = {"m", "int8", "p", 0, 1, 8, 8};
  header.digests = {1, 2};
  header.stamps = {{"model.safetensors", 10, 20, 30, 40}};
  const std::string path = directory.path() + "/x.packed";
  std::string said;
  const LoadLog log = [&](std::string_view line) { said += line; };
  { const PackedWriter writer(path, header, {}, log); }
  const auto cache = PackedCache::open(path, header.key, log);
  EXPECT_EQ(cache->known_digests(header.stamps), header.digests);
  for (std::int64_t FileStamp::*field :
       {&FileStamp::bytes, &FileStamp::modified_ns, &FileStamp::changed_ns, &FileStamp::inode}) {
    std::vector<FileStamp> changed = header.stamps;
    ++(changed[0].*field);
    EXPECT_TRUE(cache->known_digests(changed).empty());
    // Hashed, found the same, stamped anew: the next start knows.
    cache->put_stamps(changed);
    EXPECT_EQ(PackedCache::open(path, header.key, log)->known_digests(changed), header.digests);
  }
  EXPECT_TRUE(cache->usable({1, 2}));
  EXPECT_FALSE(cache->usable({1, 3}));
  PackedKey foreign = header.key;
  foreign.packing = "q";
  EXPECT_FALSE(PackedCache::open(path, foreign, log)->usable({1, 2}));
  EXPECT_NE(said.find("packing is p, wanted q"), std::string::npos);
}

}  // namespace
}  // namespace leadline::worker
