#include "deploy/cli/engine_bench_report.h"

#include <cstdarg>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace leadline::deploy {
namespace {

using nlohmann::json;

double ratio(double a, double b) {
  return b > 0 ? a / b : 0;
}

double prefill_rate(const EngineBenchOptions& o, const EngineBenchResult& r) {
  return ratio(double(o.prompt) * o.batch, r.prefill_seconds);
}
double decode_rate(const EngineBenchOptions& o, const EngineBenchResult& r) {
  return ratio(o.batch, r.decode_step_seconds);
}
// Weights once per step over the step's time: what decode could at best be bound by.
double decode_share(const EngineBenchResult& r) {
  return ratio(ratio(r.weight_bytes, r.decode_step_seconds) / 1e9, r.ceilings.read_gb_per_s);
}

void add_stages(json& stages, const char* phase, const std::vector<StageTotals>& totals, double seconds,
                const MachineProbe& ceilings) {
  double inside = 0;
  for (std::size_t i = 0; i < totals.size(); ++i) {
    const StageTotals& t = totals[i];
    if (t.calls == 0) continue;
    inside += t.seconds;
    const double gb_s = ratio(t.bytes, t.seconds) / 1e9, gflop_s = ratio(t.operations, t.seconds) / 1e9;
    stages.push_back({{"phase", phase},
                      {"stage", name_of(static_cast<Stage>(i))},
                      {"calls", t.calls},
                      {"seconds", t.seconds},
                      {"share_of_time", ratio(t.seconds, seconds)},
                      {"bytes", t.bytes},
                      {"stored_bytes", t.weight_bytes},
                      {"operations", t.operations},
                      {"gb_s", gb_s},
                      {"gflop_s", gflop_s},
                      {"bandwidth_share", ratio(gb_s, ceilings.read_gb_per_s)},
                      {"fma_share", ratio(gflop_s, ceilings.f32_gflop_per_s)}});
  }
  stages.push_back({{"phase", phase},
                    {"stage", "outside_ops"},
                    {"seconds", seconds - inside},
                    {"share_of_time", ratio(seconds - inside, seconds)}});
}

void print(std::string& text, const char* format, ...) {
  char line[256];
  va_list arguments;
  va_start(arguments, format);
  (void)std::vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  text += line;
}

void print_stages(std::string& text, const char* phase, const std::vector<StageTotals>& totals,
                  const EngineBenchResult& r) {
  print(text, "%-10s %6s %9s %7s %9s %9s %8s\n", phase, "calls", "ms", "GB/s", "of read", "GFLOP/s",
        "of FMA");
  for (std::size_t i = 0; i < totals.size(); ++i) {
    const StageTotals& t = totals[i];
    if (t.calls == 0) continue;
    const double gb_s = ratio(t.bytes, t.seconds) / 1e9, gflop_s = ratio(t.operations, t.seconds) / 1e9;
    print(text, "%-10s %6lld %9.3f %7.1f %9.2f %9.0f %8.2f\n", name_of(static_cast<Stage>(i)),
          static_cast<long long>(t.calls), t.seconds * 1e3, gb_s, ratio(gb_s, r.ceilings.read_gb_per_s),
          gflop_s, ratio(gflop_s, r.ceilings.f32_gflop_per_s));
  }
}

}  // namespace

std::string engine_bench_json(const EngineBenchOptions& o, const EngineBenchResult& r) {
  json stages = json::array();
  add_stages(stages, "prefill", r.prefill, r.prefill_seconds, r.ceilings);
  add_stages(stages, "decode", r.decode, r.decode_step_seconds, r.ceilings);
  const json out = {{"asked",
                     {{"model", o.model},
                      {"shape", o.shape},
                      {"weights", o.weights},
                      {"kv_dtype", o.kv_dtype},
                      {"isa", o.isa},
                      {"prompt", o.prompt},
                      {"generate", o.generate},
                      {"batch", o.batch},
                      {"context", o.context},
                      {"step_tokens", o.step_tokens},
                      {"verify", o.verify},
                      {"threads", o.threads},
                      {"repeats", o.repeats}}},
                    {"backend", r.backend},
                    {"arithmetic", r.arithmetic},
                    {"threads", r.threads},
                    {"fingerprint", r.fingerprint},
                    {"logits_hash", r.logits_hash},
                    {"load_before", r.load_before},
                    {"load_after", r.load_after},
                    {"read_bandwidth_gb_s", r.ceilings.read_gb_per_s},
                    {"fma_gflops", r.ceilings.f32_gflop_per_s},
                    {"matrix_bf16_gflops", r.ceilings.bf16_gflop_per_s},
                    {"matrix_int8_gops", r.ceilings.int8_gop_per_s},
                    {"weight_bytes", r.weight_bytes},
                    {"load_seconds", r.load_seconds},
                    {"prefill_tokens_per_s", prefill_rate(o, r)},
                    {"decode_tokens_per_s", decode_rate(o, r)},
                    {"decode_bandwidth_share", decode_share(r)},
                    {"verify_step_over_decode_step", ratio(r.verify_step_seconds, r.decode_step_seconds)},
                    {"prefill_seconds_of_repeats", r.prefill_runs},
                    {"decode_step_seconds_of_repeats", r.decode_runs},
                    {"stages", stages}};
  return out.dump(1) + "\n";
}

std::string engine_bench_text(const EngineBenchOptions& o, const EngineBenchResult& r) {
  std::string text;
  print(text, "%s, %d threads, weights %s: %.2f GB, loaded in %.1f s\n", r.backend.c_str(), r.threads,
        o.weights.c_str(), r.weight_bytes / 1e9, r.load_seconds);
  print(text, "ceilings  read %.1f GB/s, f32 %.0f GFLOP/s", r.ceilings.read_gb_per_s,
        r.ceilings.f32_gflop_per_s);
  if (r.ceilings.bf16_gflop_per_s > 0) print(text, ", bf16 tiles %.0f", r.ceilings.bf16_gflop_per_s);
  if (r.ceilings.int8_gop_per_s > 0) print(text, ", int8 %.0f Gop/s", r.ceilings.int8_gop_per_s);
  print(text, "\nload      %s before, %s after\n", r.load_before.c_str(), r.load_after.c_str());
  print(text, "prefill   %.1f tokens/s (%d x %d tokens)\n", prefill_rate(o, r), o.batch, o.prompt);
  print(text, "decode    %.2f tokens/s (batch %d): weights at %.2f of read bandwidth\n", decode_rate(o, r),
        o.batch, decode_share(r));
  if (o.verify > 0)
    print(text, "verify    a step of %d rows takes %.2f of a decode step\n", o.verify,
          ratio(r.verify_step_seconds, r.decode_step_seconds));
  print(text, "logits    %s\n\n", r.logits_hash.c_str());
  print_stages(text, "prefill", r.prefill, r);
  text += "\n";
  print_stages(text, "decode", r.decode, r);
  return text;
}

}  // namespace leadline::deploy
