#include "monitoring/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <limits>
#include <map>
#include <mutex>
#include <set>
#include <sstream>

#include "monitoring/check.h"
#include "monitoring/log.h"

namespace leadline::monitoring {

// prometheus-cpp's own histogram takes a lock that a scrape takes too; these cells are plain atomics. A
// scrape sees each bucket at some moment of its own, and derives the count from the buckets, so the text is
// always consistent in itself.
class HistogramCells {
 public:
  void observe(double seconds) noexcept {
    const auto* bound = std::lower_bound(std::begin(kSecondsBuckets), std::end(kSecondsBuckets), seconds);
    buckets_[static_cast<std::size_t>(bound - std::begin(kSecondsBuckets))].fetch_add(
        1, std::memory_order_relaxed);
    sum_.fetch_add(seconds, std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t count() const noexcept {
    std::uint64_t total = 0;
    for (const auto& bucket : buckets_) total += bucket.load(std::memory_order_relaxed);
    return total;
  }
  [[nodiscard]] prometheus::ClientMetric collect() const {
    prometheus::ClientMetric metric;
    std::uint64_t cumulative = 0;
    for (std::size_t i = 0; i < buckets_.size(); ++i) {
      cumulative += buckets_[i].load(std::memory_order_relaxed);
      const bool last = i == std::size(kSecondsBuckets);
      metric.histogram.bucket.push_back(
          {cumulative, last ? std::numeric_limits<double>::infinity() : kSecondsBuckets[i]});
    }
    metric.histogram.sample_count = cumulative;
    metric.histogram.sample_sum = sum_.load(std::memory_order_relaxed);
    return metric;
  }

 private:
  std::array<std::atomic<std::uint64_t>, std::size(kSecondsBuckets) + 1> buckets_{};
  std::atomic<double> sum_{0};
};

void Counter::inc(double by) const noexcept {
  if (cell_ != nullptr) cell_->Increment(by);
}
double Counter::value() const noexcept {
  return cell_ != nullptr ? cell_->Value() : 0;
}
void Gauge::set(double value) const noexcept {
  if (cell_ != nullptr) cell_->Set(value);
}
void Gauge::add(double by) const noexcept {
  if (cell_ != nullptr) cell_->Increment(by);
}
double Gauge::value() const noexcept {
  return cell_ != nullptr ? cell_->Value() : 0;
}
void Histogram::observe(double seconds) const noexcept {
  if (cells_ != nullptr) cells_->observe(seconds);
}
std::uint64_t Histogram::count() const noexcept {
  return cells_ != nullptr ? cells_->count() : 0;
}

namespace {

enum class Kind { counter, gauge, histogram };
constexpr std::string_view kKindNames[] = {"counter", "gauge", "histogram"};

struct Family {
  Kind kind = Kind::counter;
  std::string help;
  std::set<Labels> series;
  prometheus::Family<prometheus::Counter>* counters = nullptr;
  prometheus::Family<prometheus::Gauge>* gauges = nullptr;
  std::map<Labels, std::unique_ptr<HistogramCells>> histograms;
  std::function<double()> read;
};

bool is_snake(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  });
}

void check_name(std::string_view name, Kind kind) {
  LEADLINE_CHECK(name.starts_with("leadline_") && is_snake(name), "a metric's name is leadline_[a-z0-9_]+");
  LEADLINE_CHECK(name.ends_with("_total") == (kind == Kind::counter),
                 "counters, and only they, end in _total");
  LEADLINE_CHECK(kind != Kind::histogram || name.ends_with("_seconds"), "histograms are of seconds");
}

prometheus::MetricFamily collect_histograms(const std::string& name, const Family& family) {
  prometheus::MetricFamily out{name, family.help, prometheus::MetricType::Histogram, {}};
  for (const auto& [labels, cells] : family.histograms) {
    prometheus::ClientMetric metric = cells->collect();
    for (const auto& [key, value] : labels) metric.label.push_back({key, value});
    out.metric.push_back(std::move(metric));
  }
  return out;
}

}  // namespace

struct MetricsRegistry::Impl {
  prometheus::Registry registry;  // provides its own synchronisation
  mutable std::mutex lock;        // guards families; taken at registration and by a scrape, never by a handle
  std::map<std::string, Family, std::less<>> families;
  prometheus::Counter* refused = nullptr;

  Family& family_of(std::string_view name, std::string_view help, Kind kind) {
    check_name(name, kind);
    auto [at, fresh] = families.try_emplace(std::string(name));
    Family& family = at->second;
    if (!fresh) {
      LEADLINE_CHECK(family.kind == kind && family.help == help, "one name, one type, one help text");
      return family;
    }
    family.kind = kind;
    family.help = help;
    if (kind == Kind::counter) {
      family.counters = &prometheus::BuildCounter().Name(at->first).Help(family.help).Register(registry);
    } else if (kind == Kind::gauge) {
      family.gauges = &prometheus::BuildGauge().Name(at->first).Help(family.help).Register(registry);
    }
    return family;
  }

  // False when the family is full.
  bool admit(Family& family, std::string_view name, const Labels& labels) {
    for (const auto& [key, value] : labels) {
      LEADLINE_CHECK(is_snake(key) && !key.starts_with("__"), "a label's name is [a-z0-9_]+");
    }
    if (family.series.contains(labels)) return true;
    if (family.series.size() >= kMaxSeriesPerFamily) {
      refused->Increment();
      log_warn("metric_series_refused", {{"metric", name}, {"limit", kMaxSeriesPerFamily}});
      return false;
    }
    family.series.insert(labels);
    return true;
  }
};

namespace {
std::map<std::string, std::string> to_map(const Labels& labels) {
  return {labels.begin(), labels.end()};
}
}  // namespace

MetricsRegistry::MetricsRegistry() : impl_(std::make_unique<Impl>()) {
  Family& family = impl_->family_of("leadline_metrics_refused_series_total",
                                    "Label sets not exported because their family was full.", Kind::counter);
  family.series.insert(Labels{});
  impl_->refused = &family.counters->Add({});
}
MetricsRegistry::~MetricsRegistry() = default;

Counter MetricsRegistry::counter(std::string_view name, std::string_view help, const Labels& labels) {
  const std::lock_guard guard(impl_->lock);
  Family& family = impl_->family_of(name, help, Kind::counter);
  return impl_->admit(family, name, labels) ? Counter(&family.counters->Add(to_map(labels))) : Counter();
}

Gauge MetricsRegistry::gauge(std::string_view name, std::string_view help, const Labels& labels) {
  const std::lock_guard guard(impl_->lock);
  Family& family = impl_->family_of(name, help, Kind::gauge);
  return impl_->admit(family, name, labels) ? Gauge(&family.gauges->Add(to_map(labels))) : Gauge();
}

Histogram MetricsRegistry::histogram(std::string_view name, std::string_view help, const Labels& labels) {
  const std::lock_guard guard(impl_->lock);
  Family& family = impl_->family_of(name, help, Kind::histogram);
  if (!impl_->admit(family, name, labels)) return {};
  auto& cells = family.histograms[labels];
  if (cells == nullptr) cells = std::make_unique<HistogramCells>();
  return Histogram(cells.get());
}

void MetricsRegistry::gauge_from(std::string_view name, std::string_view help, std::function<double()> read) {
  const std::lock_guard guard(impl_->lock);
  Family& family = impl_->family_of(name, help, Kind::gauge);
  LEADLINE_CHECK(family.series.empty(), "a gauge read at scrape is registered once");
  family.series.insert(Labels{});
  family.gauges->Add({});
  family.read = std::move(read);
}

std::string MetricsRegistry::render() const {
  std::vector<prometheus::MetricFamily> out;
  {
    const std::lock_guard guard(impl_->lock);
    for (const auto& [name, family] : impl_->families) {
      if (family.read) family.gauges->Add({}).Set(family.read());
      if (family.kind == Kind::histogram) out.push_back(collect_histograms(name, family));
    }
    for (prometheus::MetricFamily& family : impl_->registry.Collect()) out.push_back(std::move(family));
  }
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  for (auto& family : out) {
    std::sort(family.metric.begin(), family.metric.end(),
              [](const auto& a, const auto& b) { return a.label < b.label; });
  }
  std::ostringstream text;
  prometheus::TextSerializer().Serialize(text, out);
  return std::move(text).str();
}

std::vector<MetricDescription> MetricsRegistry::describe() const {
  const std::lock_guard guard(impl_->lock);
  std::vector<MetricDescription> out;
  for (const auto& [name, family] : impl_->families) {
    MetricDescription description{
        name, std::string(kKindNames[static_cast<std::size_t>(family.kind)]), family.help, {}};
    std::map<std::string, std::set<std::string>> values;
    for (const Labels& labels : family.series) {
      for (const auto& [key, value] : labels) values[key].insert(value);
    }
    for (const auto& [key, set] : values) {
      std::string label = key + "=";
      for (const std::string& value : set) label += (label.back() == '=' ? "" : "|") + value;
      description.labels.push_back(std::move(label));
    }
    out.push_back(std::move(description));
  }
  return out;
}

}  // namespace leadline::monitoring
