#include "worker/backend/cuda/page_copier.h"

#include <algorithm>
#include <cstring>

#include "monitoring/check.h"

namespace leadline::worker::cuda {

PageCopier::PageCopier(Runtime& runtime, StreamId step_stream)
    : runtime_(runtime),
      step_stream_(step_stream),
      copies_(runtime, runtime.make_stream()),
      steps_done_(runtime, runtime.make_event()),
      copies_done_(runtime, runtime.make_event()),
      staging_(runtime, runtime.allocate_pinned(kStagingBytes)) {}

void PageCopier::drain(const char* stage) {
  if (busy_) runtime_.wait_on_host(copies_done_.get(), stage);
  busy_ = false;
}

void PageCopier::read(const UnitMemory& pool, std::span<const std::uint32_t> units, std::byte* host) {
  const auto batch = static_cast<std::size_t>(kStagingBytes / pool.unit_bytes);
  LEADLINE_CHECK(batch > 0, "a KV unit larger than the staging buffer");
  auto* staging = static_cast<std::byte*>(staging_.get());
  runtime_.record(steps_done_.get(), step_stream_);
  runtime_.wait(copies_.get(), steps_done_.get());
  for (std::size_t at = 0; at < units.size(); at += batch) {
    const std::size_t count = std::min(batch, units.size() - at);
    drain("page swap");
    for (std::size_t i = 0; i < count; ++i)
      runtime_.copy(staging + static_cast<std::int64_t>(i) * pool.unit_bytes,
                    pool.base + std::int64_t{units[at + i]} * pool.unit_bytes, pool.unit_bytes, Copy::to_host,
                    copies_.get());
    runtime_.record(copies_done_.get(), copies_.get());
    runtime_.wait_on_host(copies_done_.get(), "page swap out");
    std::memcpy(host + static_cast<std::int64_t>(at) * pool.unit_bytes, staging,
                count * static_cast<std::size_t>(pool.unit_bytes));
  }
}

void PageCopier::write(const UnitMemory& pool, std::span<const std::uint32_t> units, const std::byte* host) {
  const auto batch = static_cast<std::size_t>(kStagingBytes / pool.unit_bytes);
  LEADLINE_CHECK(batch > 0, "a KV unit larger than the staging buffer");
  auto* staging = static_cast<std::byte*>(staging_.get());
  runtime_.record(steps_done_.get(), step_stream_);  // a step before may still read the units
  runtime_.wait(copies_.get(), steps_done_.get());
  for (std::size_t at = 0; at < units.size(); at += batch) {
    const std::size_t count = std::min(batch, units.size() - at);
    drain("page swap in");
    std::memcpy(staging, host + static_cast<std::int64_t>(at) * pool.unit_bytes,
                count * static_cast<std::size_t>(pool.unit_bytes));
    for (std::size_t i = 0; i < count; ++i)
      runtime_.copy(pool.base + std::int64_t{units[at + i]} * pool.unit_bytes,
                    staging + static_cast<std::int64_t>(i) * pool.unit_bytes, pool.unit_bytes,
                    Copy::to_device, copies_.get());
    runtime_.record(copies_done_.get(), copies_.get());
    busy_ = true;
  }
  runtime_.wait(step_stream_, copies_done_.get());
}

}  // namespace leadline::worker::cuda
