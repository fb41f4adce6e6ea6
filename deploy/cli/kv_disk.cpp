#include "deploy/cli/kv_disk.h"

#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "deploy/cli/kv_stats.h"
#include "deploy/cli/up_options.h"
#include "kvstore/disk_audit.h"
#include "kvstore/tier.h"

namespace leadline::deploy {
namespace {

using Json = nlohmann::ordered_json;
using kvstore::DiskFiles;
using Found = DiskFiles::Found;

int fail_with(const std::string& what) {
  std::fprintf(stderr, "leadline kv: %s\n", what.c_str());
  return 1;
}

// Of a directory that is there: looking makes none.
std::unique_ptr<DiskFiles> open_directory(const KvDiskOptions& o) {
  struct stat info {};
  if (o.directory.empty() || ::stat((o.directory + "/v1/blocks").c_str(), &info) != 0) {
    (void)fail_with("--dir " + o.directory + ": no KV blocks are kept there");
    return nullptr;
  }
  auto files = DiskFiles::open(o.directory);
  if (!files) {
    (void)fail_with(files.error().message);
    return nullptr;
  }
  return std::move(*files);
}

std::vector<Found> all_blocks(const DiskFiles& files) {
  std::vector<Found> blocks;
  files.scan([&](Found found) {
    blocks.push_back(std::move(found));
    return true;
  });
  std::ranges::sort(blocks, std::greater<>(), &Found::modified_ns);
  return blocks;
}

std::string name_of(const kvstore::BlockId& id) {
  return kvstore::to_hex(id.key) + "-" + std::to_string(id.head);
}

Json to_json(const Found& found) {
  Json out{{"block", name_of(found.id)},
           {"bytes", found.size},
           {"modified_unix_s", found.modified_ns / 1'000'000'000}};
  if (!found.header) {
    out["damaged"] = found.why;
    return out;
  }
  const kvstore::BlockHeader& h = *found.header;
  out["parent"] = kvstore::to_hex(h.parent);
  out["depth"] = h.depth;
  out["first_position"] = h.first_position;
  out["tokens"] = h.tokens;
  out["slots"] = h.slots;
  out["layers"] = h.layers;
  out["head_dim"] = h.head_dim;
  out["dtype"] = h.dtype;
  out["codec"] = h.codec;
  out["raw_bytes"] = h.raw_bytes;
  out["expires_unix_s"] = h.expires_unix_s == 0 ? Json() : Json(h.expires_unix_s);
  out["model"] = h.fingerprint;
  out["compression"] = h.compression;
  out["layout"] = h.layout;
  return out;
}

int run_ls(const KvDiskOptions& o, const DiskFiles& files) {
  std::vector<Found> blocks = all_blocks(files);
  std::erase_if(blocks,
                [&](const Found& b) { return b.header && !b.header->fingerprint.starts_with(o.model); });
  const std::size_t rows = o.limit == 0 ? blocks.size() : std::min(o.limit, blocks.size());
  if (!o.json)
    std::printf("%-16s %5s %6s %7s %9s %8s %s\n", "BLOCK", "HEAD", "DEPTH", "TOKENS", "BYTES", "AGE s",
                "MODEL");
  const auto now = static_cast<std::int64_t>(kvstore::unix_now_s());
  for (const Found& b : std::span(blocks).first(rows)) {
    if (o.json) {
      std::printf("%s\n", to_json(b).dump().c_str());
      continue;
    }
    const std::string key = kvstore::to_hex(b.id.key).substr(0, 16);
    const long long age = now - b.modified_ns / 1'000'000'000;
    if (b.header)
      std::printf("%s %5u %6u %7u %9llu %8lld %s\n", key.c_str(), b.id.head, b.header->depth,
                  b.header->tokens, static_cast<unsigned long long>(b.size), age,
                  b.header->fingerprint.c_str());
    else
      std::printf("%s %5u %23s %9llu %8lld %s\n", key.c_str(), b.id.head, "damaged",
                  static_cast<unsigned long long>(b.size), age, b.why.c_str());
  }
  if (!o.json && rows < blocks.size()) std::printf("%zu of %zu; --limit 0 lists all\n", rows, blocks.size());
  return 0;
}

int run_show(const KvDiskOptions& o, const DiskFiles& files) {
  int shown = 0;
  for (const Found& b : all_blocks(files)) {
    const std::string name = name_of(b.id);
    const std::size_t dash = o.key.find('-');
    const bool wanted = name.starts_with(o.key.substr(0, dash)) &&
                        (dash == std::string::npos || name.substr(64) == o.key.substr(dash));
    if (!wanted) continue;
    Json out = to_json(b);
    kvstore::BlockPtr block;
    const kvstore::FileResult read = files.read(b.id, block);
    out["whole"] = read.outcome == kvstore::FileOutcome::ok;
    if (read.outcome != kvstore::FileOutcome::ok) out["why"] = read.why;
    out["file"] = files.directory() + "/blocks/" + kvstore::block_file_name(b.id);
    if (b.header) out["parent_here"] = files.exists({b.header->parent, b.id.head});
    std::printf("%s\n", out.dump(2).c_str());
    if (++shown >= 64) break;
  }
  return shown > 0 ? 0 : fail_with("no block begins with " + o.key);
}

int run_verify(const KvDiskOptions& o, const DiskFiles& files) {
  std::uint64_t whole = 0, gone = 0, damaged = 0;
  for (const Found& b : all_blocks(files)) {
    kvstore::BlockPtr block;
    const kvstore::FileResult read = files.read(b.id, block);
    if (read.outcome == kvstore::FileOutcome::ok) {
      ++whole;
    } else if (read.outcome == kvstore::FileOutcome::absent) {
      ++gone;  // a server evicted it meanwhile
    } else {
      ++damaged;
      const std::string moved = o.quarantine ? files.quarantine(b.id) : std::string();
      std::printf("%s: %s%s\n", name_of(b.id).c_str(), read.why.c_str(),
                  moved.empty() ? "" : (" (now quarantine/" + moved + ")").c_str());
    }
  }
  std::printf("%llu whole, %llu damaged, %llu went meanwhile\n", static_cast<unsigned long long>(whole),
              static_cast<unsigned long long>(damaged), static_cast<unsigned long long>(gone));
  return damaged == 0 ? 0 : 1;
}

int report(const char* what, const kvstore::Result<kvstore::Removed>& removed) {
  if (!removed) return fail_with(removed.error().message);
  std::printf("%s: %llu files, %.1f MB\n", what, static_cast<unsigned long long>(removed->blocks),
              static_cast<double>(removed->bytes) / 1e6);
  if (removed->failed == 0) return 0;
  return fail_with(std::to_string(removed->failed) + " files stay: " + removed->why);
}

int run_gc(const KvDiskOptions& o, DiskFiles& files) {
  kvstore::GarbageRules rules;
  rules.model = o.model;
  if (o.max_bytes > 0) rules.max_bytes = static_cast<std::uint64_t>(o.max_bytes);
  if (!o.older_than.empty()) {
    rules.older_than_s = kvstore::parse_age(o.older_than);
    if (!rules.older_than_s) return fail_with("--older-than " + o.older_than + ": write 90s, 15m, 6h or 7d");
  }
  const std::vector<Found> blocks = all_blocks(files);
  const std::vector<std::size_t> garbage = kvstore::choose_garbage(blocks, rules, kvstore::unix_now_s());
  if (o.dry_run) {
    std::uint64_t bytes = 0;
    for (const std::size_t i : garbage) bytes += kvstore::file_cost(blocks[i].size);
    std::printf("would remove: %zu of %zu blocks, %.1f MB; quarantine holds %.1f MB\n", garbage.size(),
                blocks.size(), static_cast<double>(bytes) / 1e6,
                static_cast<double>(files.quarantined_bytes()) / 1e6);
    return 0;
  }
  const int removed = report("removed", kvstore::remove_blocks(files, blocks, garbage));
  if (removed != 0 || !o.quarantine) return removed;
  return report("quarantine emptied", kvstore::empty_quarantine(files));
}

}  // namespace

void add_kv_disk_commands(CLI::App& command, std::function<int()>& run) {
  auto options = std::make_shared<KvDiskOptions>();
  options->directory = default_kv_directory();
  const auto add = [&](const char* name, const char* what, auto body) {
    CLI::App* sub = command.add_subcommand(name, what);
    sub->add_option("--dir", options->directory, "Directory of KV blocks (--kv-disk of `up`)");
    sub->callback([&run, options, body] {
      run = [options, body] {
        const auto files = open_directory(*options);
        return files == nullptr ? 1 : body(*options, *files);
      };
    });
    return sub;
  };
  KvDiskOptions& o = *options;
  CLI::App* ls = add("ls", "List blocks, the newest first", run_ls);
  ls->add_option("--limit", o.limit, "Rows; 0: all");
  CLI::App* show = add("show", "Everything that one block's header says, and whether it is whole", run_show);
  show->add_option("block", o.key, "The beginning of a key, with -HEAD behind it if wanted")->required();
  CLI::App* verify = add("verify", "Read every block whole; 1 if one is damaged", run_verify);
  verify->add_flag("--quarantine", o.quarantine, "Move damaged ones aside, as a server would");
  CLI::App* gc = add("gc", "Remove expired blocks, old ones, or as many as --max-bytes wants", run_gc);
  gc->add_option("--older-than", o.older_than, "90s, 15m, 6h, 7d");
  gc->add_option("--max-bytes", o.max_bytes, "What may stay (MiB, GiB)")->transform(CLI::AsSizeValue(false));
  gc->add_flag("--quarantine", o.quarantine, "Also delete what servers put aside as damaged");
  gc->add_flag("--dry-run", o.dry_run, "Say what would go");
  CLI::App* stats =
      add("stats", "Sums over the directory, and with --admin a worker's tiers",
          [](const KvDiskOptions& all, const DiskFiles& files) { return run_kv_stats(all, files); });
  stats->add_option("--admin", o.admin, "A worker's admin address (`up` prints them), HOST:PORT");
  for (CLI::App* sub : {ls, gc})
    sub->add_option("--model", o.model, "Only blocks whose model fingerprint begins so");
  for (CLI::App* sub : {ls, stats}) sub->add_flag("--json", o.json, "For programs");
}

}  // namespace leadline::deploy
