#pragma once
// Metrics: families are created once, at start, and handed out as small handles; prometheus-cpp's registry
// and serializer stay in the .cpp. Not a place for logs, and no label value ever comes from the wire (label
// values are closed sets). Thread: handles from any thread, lock-free, never waiting for a scrape; creating
// families takes a lock; a handle must not outlive its registry. A default-constructed handle does nothing
// (for tests that do not look at metrics). Invariants: (1) names match leadline_[a-z0-9_]+, base units, no
// colons; counters end in _total, others do not; (2) at most kMaxSeriesPerFamily series per family; (3) a
// series of a closed label set exists, at 0, from the start.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace prometheus {
class Counter;
class Gauge;
}  // namespace prometheus

namespace leadline::monitoring {

// Seconds: every time histogram of the project has these boundaries, 0.5 ms to 600 s, 25 steps and +Inf.
inline constexpr double kSecondsBuckets[] = {0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.03,
                                             0.05,   0.075, 0.1,   0.2,   0.3,   0.5,    1,    2,    3,
                                             5,      10,    20,    60,    120,   300,    600};
inline constexpr std::size_t kMaxSeriesPerFamily = 128;  // beyond it: an inert handle, counted and logged

using Labels = std::vector<std::pair<std::string, std::string>>;

class HistogramCells;

class Counter {
 public:
  Counter() = default;
  explicit Counter(prometheus::Counter* cell) : cell_(cell) {}
  void inc(double by = 1) const noexcept;  // REQUIRES: by >= 0
  [[nodiscard]] double value() const noexcept;

 private:
  prometheus::Counter* cell_ = nullptr;
};

class Gauge {
 public:
  Gauge() = default;
  explicit Gauge(prometheus::Gauge* cell) : cell_(cell) {}
  void set(double value) const noexcept;
  void add(double by) const noexcept;
  [[nodiscard]] double value() const noexcept;

 private:
  prometheus::Gauge* cell_ = nullptr;
};

class Histogram {  // of seconds
 public:
  Histogram() = default;
  explicit Histogram(HistogramCells* cells) : cells_(cells) {}
  void observe(double seconds) const noexcept;
  [[nodiscard]] std::uint64_t count() const noexcept;

 private:
  HistogramCells* cells_ = nullptr;
};

// One handle per value of an enum: the closed set of one label. Enum values must be 0, 1, 2, … in the order
// of `values`.
template <typename Enum, typename Handle>
class HandleSet {
 public:
  HandleSet() = default;
  explicit HandleSet(std::vector<Handle> handles) : handles_(std::move(handles)) {}
  [[nodiscard]] const Handle& operator[](Enum value) const {
    static const Handle inert{};
    const auto index = static_cast<std::size_t>(value);
    return index < handles_.size() ? handles_[index] : inert;
  }
  [[nodiscard]] std::size_t size() const { return handles_.size(); }

 private:
  std::vector<Handle> handles_;
};

// A gauge per state, 1 for the present one and 0 for the others.
template <typename Enum>
class StateGauge {
 public:
  StateGauge() = default;
  explicit StateGauge(HandleSet<Enum, Gauge> gauges) : gauges_(std::move(gauges)) {}
  void set(Enum state) const {
    for (std::size_t i = 0; i < gauges_.size(); ++i)
      gauges_[static_cast<Enum>(i)].set(static_cast<Enum>(i) == state ? 1 : 0);
  }

 private:
  HandleSet<Enum, Gauge> gauges_;
};

struct MetricDescription {  // of one family, for the golden list and the README's table
  std::string name, type, help;
  std::vector<std::string> labels;  // "reason=no_worker|queue": the values so far, sorted
};

class MetricsRegistry {
 public:
  MetricsRegistry();
  ~MetricsRegistry();
  MetricsRegistry(const MetricsRegistry&) = delete;
  MetricsRegistry& operator=(const MetricsRegistry&) = delete;

  // The same name and labels give the same series; the same name with another type or help is a bug (CHECK).
  Counter counter(std::string_view name, std::string_view help, const Labels& labels = {});
  Gauge gauge(std::string_view name, std::string_view help, const Labels& labels = {});
  Histogram histogram(std::string_view name, std::string_view help, const Labels& labels = {});
  // Read at each scrape on the admin thread: `read` may look at atomics and /proc only, and must not wait.
  void gauge_from(std::string_view name, std::string_view help, std::function<double()> read);

  // All values of one label at once; further labels (a worker's number, say) go before it.
  template <typename Enum>
  HandleSet<Enum, Counter> counters(std::string_view name, std::string_view help, std::string_view label,
                                    std::span<const std::string_view> values, const Labels& more = {}) {
    return make_set<Enum, Counter>(label, values, more,
                                   [&](const Labels& l) { return counter(name, help, l); });
  }
  template <typename Enum>
  HandleSet<Enum, Gauge> gauges(std::string_view name, std::string_view help, std::string_view label,
                                std::span<const std::string_view> values, const Labels& more = {}) {
    return make_set<Enum, Gauge>(label, values, more, [&](const Labels& l) { return gauge(name, help, l); });
  }
  template <typename Enum>
  HandleSet<Enum, Histogram> histograms(std::string_view name, std::string_view help, std::string_view label,
                                        std::span<const std::string_view> values, const Labels& more = {}) {
    return make_set<Enum, Histogram>(label, values, more,
                                     [&](const Labels& l) { return histogram(name, help, l); });
  }
  template <typename Enum>
  StateGauge<Enum> state(std::string_view name, std::string_view help, std::string_view label,
                         std::span<const std::string_view> values, const Labels& more = {}) {
    return StateGauge<Enum>(gauges<Enum>(name, help, label, values, more));
  }

  [[nodiscard]] std::string render() const;                       // Prometheus text format, families by name
  [[nodiscard]] std::vector<MetricDescription> describe() const;  // families by name

 private:
  struct Impl;
  template <typename Enum, typename Handle, typename Make>
  static HandleSet<Enum, Handle> make_set(std::string_view label, std::span<const std::string_view> values,
                                          const Labels& more, const Make& make) {
    std::vector<Handle> handles;
    for (std::string_view value : values) {
      Labels labels = more;
      labels.emplace_back(label, value);
      handles.push_back(make(labels));
    }
    return HandleSet<Enum, Handle>(std::move(handles));
  }
  std::unique_ptr<Impl> impl_;
};

}  // namespace leadline::monitoring
