#include "policy/trainer/training.h"

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <memory>

#include "policy/decision_draw.h"
#include "policy/fixed_policy.h"
#include "policy/trainer/dataset.h"
#include "policy/trainer/offline_q.h"

namespace leadline::policy {
namespace {

std::string words(const TrainingReport& r) {
  char text[512];
  (void)std::snprintf(
      text, sizeof text,
      "%zu rounds learned from, %zu held out: learned %.1f us/token [%.1f, %.1f], effective samples "
      "%.0f, coverage %.2f; best static (exit %d, %d drafts) %.1f us/token [%.1f, %.1f], effective samples "
      "%.0f, coverage %.2f",
      r.rounds, r.held_out_rounds, r.learned.us_per_token, r.learned.low, r.learned.high,
      r.learned.effective_samples, r.learned.coverage, r.baseline.exit, r.baseline.drafts,
      r.baseline.estimate.us_per_token, r.baseline.estimate.low, r.baseline.estimate.high,
      r.baseline.estimate.effective_samples, r.baseline.estimate.coverage);
  return text;
}

Result<void> same_model(std::span<const TrajectoryFile> logs) {
  if (logs.empty()) return monitoring::fail(Errc::configuration, "no logs to train on");
  for (const TrajectoryFile& log : logs)
    if (log.header.model_identity != logs[0].header.model_identity ||
        log.header.layers != logs[0].header.layers || log.header.exits != logs[0].header.exits)
      return monitoring::fail(
          Errc::model_mismatch,
          "logs of different models: " + logs[0].header.model_identity + " and " + log.header.model_identity);
  if (logs[0].header.exits.empty())
    return monitoring::fail(Errc::configuration, "the model has no candidate exits");
  return {};
}

// lambda of what the policy would do, where the logs can tell; never below what they did.
void raise_to(Lambda& lambda, std::span<const Trajectory> rounds, const ExitPolicy& policy,
              const LearnedModel& model) {
  for (std::size_t b = 0; b < kBatchBuckets; ++b) {
    std::vector<Trajectory> bucket;
    for (const Trajectory& round : rounds)
      if (batch_bucket(round.batch_rows) == b) bucket.push_back(round);
    if (bucket.empty()) continue;
    const OffPolicyEstimate seen = estimate(bucket, policy, model.layers, model.exits);
    if (seen.effective_samples >= kLeastEffectiveSamples / 4 && seen.us_per_token > 0)
      lambda.of[b] = std::max(lambda.of[b], 1 / seen.us_per_token);
  }
}

bool well_known(const OffPolicyEstimate& e) {
  return e.effective_samples >= kLeastEffectiveSamples && e.coverage >= kLeastCoverage;
}

std::string too_little_known() {
  char text[120];
  (void)std::snprintf(text, sizeof text,
                      "too few effective samples, %.0f and a coverage of %.1f are needed: ",
                      kLeastEffectiveSamples, kLeastCoverage);
  return text;
}

// The rule of export. The baseline is chosen on `seen` and judged where the policy is: the best of many noisy
// estimates flatters itself.
Result<void> judge(std::span<const Trajectory> seen, std::span<const Trajectory> held_out,
                   const ExitPolicy& policy, PolicyFile& file, TrainingReport& report) {
  const LearnedModel& model = file.model;
  report.held_out_rounds = held_out.size();
  report.learned = estimate(held_out, policy, model.layers, model.exits);
  report.baseline = best_static(seen, model.layers, model.exits, model.max_draft);
  const std::unique_ptr<ExitPolicy> baseline =
      report.baseline.drafts > 0 ? make_logged_static(report.baseline.exit, report.baseline.drafts)
                                 : make_off_policy();
  report.baseline.estimate = estimate(held_out, *baseline, model.layers, model.exits);
  report.summary = words(report);
  const bool known = well_known(report.learned);
  const bool better = report.learned.us_per_token < report.baseline.estimate.us_per_token;
  if (!known || !better)
    return monitoring::fail(
        Errc::not_better,
        (known ? "not better than the best static setting: " : too_little_known()) + report.summary);
  file.provenance += (file.provenance.empty() ? "" : "; ") + report.summary;
  return {};
}

struct Halves {
  std::vector<Trajectory> choosing, judging;
};

Result<Halves> halves_of(std::span<const TrajectoryFile> logs, const PolicyFile& file) {
  if (auto same = same_model(logs); !same) return tl::unexpected(same.error());
  if (logs[0].header.model_identity != file.model_identity || logs[0].header.layers != file.model.layers)
    return monitoring::fail(Errc::model_mismatch, "logs of model " + logs[0].header.model_identity +
                                                      ", a policy for " + file.model_identity);
  Halves halves;
  for (const TrajectoryFile& log : logs)
    for (const Trajectory& round : log.rounds)
      (is_held_out(round.sequence, 0.5) ? halves.judging : halves.choosing).push_back(round);
  if (halves.choosing.empty() || halves.judging.empty())
    return monitoring::fail(Errc::configuration, "too few sequences to judge by");
  return halves;
}

std::vector<Trajectory> of_bucket(const std::vector<Trajectory>& rounds, std::size_t bucket) {
  std::vector<Trajectory> some;
  std::ranges::copy_if(rounds, std::back_inserter(some),
                       [&](const Trajectory& round) { return batch_bucket(round.batch_rows) == bucket; });
  return some;
}

// Batch size by batch size against the best static setting there.
Result<void> judge_beside(const Halves& logs, const Halves& around_statics, PolicyFile& file,
                          TrainingReport& report) {
  const LearnedModel& model = file.model;
  const std::unique_ptr<ExitPolicy> policy = make_learned_policy(model);
  double ratios = 0;
  int sizes = 0;
  bool known = true;
  std::string words = "beside the best static setting of each batch size:";
  for (std::size_t b = 0; b < kBatchBuckets; ++b) {
    const std::vector<Trajectory> own = of_bucket(logs.judging, b);
    if (own.empty()) continue;
    const OffPolicyEstimate learned = estimate(own, *policy, model.layers, model.exits);
    const BestStatic best =
        best_static(of_bucket(around_statics.choosing, b), model.layers, model.exits, model.max_draft);
    const std::unique_ptr<ExitPolicy> fixed =
        best.drafts > 0 ? make_logged_static(best.exit, best.drafts) : make_off_policy();
    const OffPolicyEstimate judged =
        estimate(of_bucket(around_statics.judging, b), *fixed, model.layers, model.exits);
    known = known && well_known(learned) && well_known(judged);
    ratios += judged.us_per_token > 0 ? learned.us_per_token / judged.us_per_token : 1;
    ++sizes;
    char text[200];
    (void)std::snprintf(
        text, sizeof text,
        " batch %d and more: %.1f us/token, (%d, %d) %.1f [%.1f, %.1f] (effective samples %.0f, "
        "coverage %.2f);",
        1 << b, learned.us_per_token, best.exit, best.drafts, judged.us_per_token, judged.low, judged.high,
        judged.effective_samples, judged.coverage);
    words += text;
  }
  report.summary = words + " mean ratio " + std::to_string(ratios / std::max(sizes, 1));
  if (!known) return monitoring::fail(Errc::not_better, too_little_known() + report.summary);
  if (!(ratios < sizes))
    return monitoring::fail(Errc::not_better, "not better than static settings: " + report.summary);
  file.provenance += (file.provenance.empty() ? "" : "; ") + report.summary;
  return {};
}

}  // namespace

Result<void> judge_policy(std::span<const TrajectoryFile> logs, std::span<const TrajectoryFile> baselines,
                          PolicyFile& file, TrainingReport& report) {
  const auto halves = halves_of(logs, file);
  if (!halves) return tl::unexpected(halves.error());
  if (baselines.empty())
    return judge(halves->choosing, halves->judging, *make_learned_policy(file.model), file, report);
  const auto around = halves_of(baselines, file);
  if (!around) return tl::unexpected(around.error());
  return judge_beside(*halves, *around, file, report);
}

bool is_held_out(std::uint64_t sequence, double share) {
  return decision_uniform(sequence, 0, 0x4f50) < share;
}

Result<PolicyFile> train_policy(std::span<const TrajectoryFile> logs, const TrainingOptions& options,
                                TrainingReport& report) {
  if (auto same = same_model(logs); !same) return tl::unexpected(same.error());
  std::vector<Trajectory> seen, held_out;
  for (const TrajectoryFile& log : logs)
    for (const Trajectory& round : log.rounds)
      (is_held_out(round.sequence, options.held_out) ? held_out : seen).push_back(round);
  if (seen.empty() || held_out.empty())
    return monitoring::fail(Errc::configuration,
                            "too few sequences to hold some out: " + std::to_string(seen.size()) + " and " +
                                std::to_string(held_out.size()) + " rounds");
  PolicyFile file;
  file.model_identity = logs[0].header.model_identity;
  file.model.layers = logs[0].header.layers;
  file.model.exits = logs[0].header.exits;
  fit_scaling(file.model, seen);
  Lambda lambda = behaviour_lambda(seen);
  raise_to(lambda, seen, *make_off_policy(), file.model);  // who may always decode plainly never does worse
  std::unique_ptr<ExitPolicy> current;
  for (int sweep = 0; sweep < options.sweeps; ++sweep) {
    if (current) raise_to(lambda, seen, *current, file.model);
    DatasetCounts counts;
    const Transitions data = make_transitions(file.model, seen, lambda,
                                              {.steps = options.n_step, .current = current.get()}, counts);
    report.rounds = counts.rounds;
    report.dropped = counts.without_propensity + counts.unknown_action;
    if (data.size() == 0)
      return monitoring::fail(Errc::configuration, "no round in the logs can be learned from");
    QOptions q;
    q.steps = options.steps;
    q.conservative = options.conservative;
    q.seed = options.seed;
    q.report_every = std::max(1, options.steps / 100);
    q.progress = [&](int step, float loss) {
      report.curve.emplace_back(sweep * options.steps + step, loss);
      if (options.progress)
        options.progress("sweep " + std::to_string(sweep + 1) + " of " + std::to_string(options.sweeps), step,
                         options.steps, loss);
    };
    file.model.net = train_q(data, q);
    if (!file.model.valid())
      return monitoring::fail(Errc::not_better, "training diverged: the network is not finite");
    current = make_learned_policy(file.model);
  }
  if (auto judged = judge(seen, held_out, *current, file, report); !judged) {
    if (!options.export_anyway) return tl::unexpected(judged.error());
    file.provenance = report.summary + " (exported though not shown to be better)";
  }
  return file;
}

}  // namespace leadline::policy
