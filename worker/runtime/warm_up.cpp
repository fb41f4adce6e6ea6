#include "worker/runtime/warm_up.h"

#include <chrono>

#include "monitoring/log.h"
#include "worker/runtime/token_chooser.h"

namespace leadline::worker {
namespace {

// Every round runs all its drafts.
class GoOn final : public DraftChooser {
 public:
  explicit GoOn(bool device) : device_(device) {}
  DraftChoice choose(const DraftPoint&, std::span<const float>) override { return {DraftStep::go_on, 0, 0}; }
  std::vector<DraftChoice> choose_all(std::span<const DraftPoint> points, ConstFloatMatrix) override {
    return std::vector<DraftChoice>(points.size(), DraftChoice{DraftStep::go_on, 0, 0});
  }
  [[nodiscard]] bool reads_device() const override { return device_; }

 private:
  const bool device_;
};

void choose(TokenChooser& chooser, const StepResult& result, const WarmUpRun& run, bool first) {
  if (!result.logits_on_device || result.logits.rows == 0) return;
  const SamplingParams params;
  SamplingRow row;
  row.allowed_vocab = run.vocab;
  chooser.begin(result.logits);
  const std::int64_t rows = first ? run.logit_rows : result.logits.rows;  // at first scratch for the most
  for (std::int64_t i = 0; i < rows; ++i)
    chooser.add(static_cast<std::int32_t>(i % result.logits.rows), row, params, false);
  chooser.choose();
}

}  // namespace

Result<void> warm_up(StepExecutor& executor, const WarmUpLimits& limits, const WarmUpRun& run) {
  const std::vector<StepPlan> plans = warm_up_plans(limits);
  const auto start = std::chrono::steady_clock::now();
  const bool tells = run.progress != nullptr && plans.size() > 1;
  TokenChooser chooser(executor.backend());
  GoOn go_on(!executor.backend().host_addressable());
  for (std::size_t i = 0; i < plans.size(); ++i) {
    if (tells) run.progress(i, plans.size());
    auto warmed = executor.execute(plans[i], run.leads ? &go_on : nullptr);
    if (!warmed) return tl::unexpected(warmed.error());
    choose(chooser, *warmed, run, i == 0);
  }
  if (tells) run.progress(plans.size(), plans.size());
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  monitoring::log_info("warmed up", {{"steps", plans.size()}, {"seconds", seconds}});
  return {};
}

}  // namespace leadline::worker
