"""Every alert of monitoring/alerts.yaml fires where it should and is silent where it should: `promtool test rules` over the table below."""
import os
import shutil
import subprocess
import tempfile
import unittest

import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ALERTS = os.path.join(ROOT, "monitoring/alerts.yaml")
HOUR = 240  # samples; one each 15 s


def flat(value):
    return f"{value}x{HOUR}"


def ramp(per_sample):
    return f"0+{per_sample}x{HOUR}"


DAYS = 4 * 24 * 15  # samples; one each 4 minutes


def trained(**at):
    return [(f'leadline_policy_training_timestamp_seconds{{outcome="{outcome}"}}', f"{at.get(outcome, 0)}x{DAYS}")
            for outcome in ("exported", "refused", "too_little", "failed")]


# alert: (series that fire it, series that do not); a series is (name with labels, values). Evaluated after 40 minutes.
CASES = {
    "LeadlineNoCoordinator": ([("leadline_steps_total", flat(1))], [("leadline_http_connections", flat(0))]),
    "LeadlineNoReadyWorker": (
        [('leadline_worker_link_state{worker="1",state="ready"}', flat(0)), ('leadline_worker_link_state{worker="2",state="ready"}', flat(0))],
        [('leadline_worker_link_state{worker="1",state="ready"}', flat(0)), ('leadline_worker_link_state{worker="2",state="ready"}', flat(1))]),
    "LeadlineRequestsWithoutWorker": ([('leadline_requests_waiting{reason="no_worker"}', flat(2))],
                                      [('leadline_requests_waiting{reason="queue"}', flat(2))]),
    "LeadlineWorkerNotReady": ([('leadline_worker_link_state{worker="1",state="ready"}', flat(0))],
                               [('leadline_worker_link_state{worker="1",state="loading"}', flat(0))]),
    "LeadlineRejecting": ([('leadline_requests_rejected_total{reason="overloaded"}', ramp(1))],
                          [('leadline_requests_rejected_total{reason="invalid"}', ramp(1))]),
    "LeadlineRequestsFail": (
        [('leadline_requests_finished_total{outcome="failed"}', ramp(1)), ('leadline_requests_finished_total{outcome="stop"}', ramp(50))],
        [('leadline_requests_finished_total{outcome="failed"}', ramp(1)), ('leadline_requests_finished_total{outcome="stop"}', ramp(200))]),
    "LeadlineServerErrors": (
        [('leadline_http_responses_total{class="5xx"}', ramp(1)), ('leadline_http_responses_total{class="2xx"}', ramp(20))],
        [('leadline_http_responses_total{class="4xx"}', ramp(9)), ('leadline_http_responses_total{class="2xx"}', ramp(20))]),
    "LeadlineQueueLong": (
        [('leadline_request_queue_seconds_bucket{le="5"}', ramp(1)), ('leadline_request_queue_seconds_bucket{le="10"}', ramp(9)),
         ('leadline_request_queue_seconds_bucket{le="+Inf"}', ramp(9))],
        [('leadline_request_queue_seconds_bucket{le="1"}', ramp(9)), ('leadline_request_queue_seconds_bucket{le="+Inf"}', ramp(9))]),
    "LeadlineFirstTokenSlow": (
        [('leadline_request_ttft_seconds_bucket{le="10"}', ramp(1)), ('leadline_request_ttft_seconds_bucket{le="20"}', ramp(9)),
         ('leadline_request_ttft_seconds_bucket{le="+Inf"}', ramp(9))],
        [('leadline_request_ttft_seconds_bucket{le="5"}', ramp(9)), ('leadline_request_ttft_seconds_bucket{le="+Inf"}', ramp(9))]),
    "LeadlineStepStuck": ([("leadline_step_age_seconds", flat(25))], [("leadline_step_age_seconds", flat(3))]),
    "LeadlineStepsStandStill": ([("leadline_steps_total", flat(9)), ("leadline_sequences_running", flat(2))],
                                [("leadline_steps_total", flat(9)), ("leadline_sequences_running", flat(0))]),
    "LeadlineKvPagesShort": ([('leadline_sequences_waiting{reason="pages"}', flat(1))],
                             [('leadline_sequences_waiting{reason="inbox"}', flat(1))]),
    "LeadlinePreempting": ([('leadline_preemptions_total{kind="swap"}', ramp(3))], [('leadline_preemptions_total{kind="swap"}', ramp(1))]),
    "LeadlineStreamsBroken": ([('leadline_request_migrations_total{outcome="no_worker"}', ramp(1))],
                              [('leadline_request_migrations_total{outcome="continued"}', ramp(1))]),
    "LeadlineWorkerFlaps": ([('leadline_worker_connects_total{worker="1"}', ramp(1))], [('leadline_worker_connects_total{worker="1"}', flat(4))]),
    "LeadlineRestarts": ([("leadline_process_start_time_seconds", ramp(60))], [("leadline_process_start_time_seconds", flat(60))]),
    "LeadlineLinksRefused": ([('leadline_coordinator_links_ended_total{reason="refused"}', ramp(1))],
                             [('leadline_coordinator_links_ended_total{reason="peer_closed"}', ramp(1))]),
    "LeadlineVersionsDiffer": ([('leadline_build_info{version="1"}', flat(1)), ('leadline_build_info{version="2"}', flat(1))],
                               [('leadline_build_info{version="1",component="a"}', flat(1)), ('leadline_build_info{version="1",component="b"}', flat(1))]),
    "LeadlineLoadingLong": ([('leadline_startup_phase{phase="loading"}', flat(1))], [('leadline_startup_phase{phase="loading"}', flat(0))]),
    "LeadlinePolicyTrainingFailed": (trained(failed=900, exported=800), trained(failed=800, exported=900)),
    "LeadlinePolicyNotBetter": (trained(refused=900, exported=800), trained(refused=800, exported=900)),
    "LeadlinePolicyTrainingOverdue": (trained(exported=100), trained(exported=86400)),
    "LeadlineSpeculationLoses": ([('leadline_speculation_seconds_total{effect="lost"}', ramp(2)), ('leadline_speculation_seconds_total{effect="saved"}', ramp(1))],
                                 [('leadline_speculation_seconds_total{effect="lost"}', ramp(1)), ('leadline_speculation_seconds_total{effect="saved"}', ramp(2))]),
    "LeadlineKvTierDown": ([('leadline_kv_tier_state{tier="redis",state="down"}', flat(1))],
                           [('leadline_kv_tier_state{tier="redis",state="down"}', flat(0)), ('leadline_kv_tier_state{tier="redis",state="ok"}', flat(1))]),
    "LeadlineKvCorrupt": ([('leadline_kv_tier_reads_total{tier="disk",outcome="corrupt"}', ramp(1))],
                          [('leadline_kv_tier_reads_total{tier="disk",outcome="hit"}', ramp(1)), ('leadline_kv_tier_reads_total{tier="disk",outcome="corrupt"}', flat(3))]),
    "LeadlineMetricsRefused": ([("leadline_metrics_refused_series_total", flat(1))], [("leadline_metrics_refused_series_total", flat(0))]),
}
# Waits for an hour, samples are given for two; is about three days.
AFTER = {"LeadlineVersionsDiffer": "62m", "LeadlineSpeculationLoses": "70m", "LeadlinePolicyTrainingOverdue": "73h"}
IN_DAYS = ["LeadlinePolicyTrainingOverdue"]


def with_instance(name):
    return name[:-1] + ',instance="a"}' if name.endswith("}") else name + '{instance="a"}'


def promtool_case(alert, series, fires, interval):
    after = AFTER.get(alert, "40m")
    query = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) > bool 0'
    return {"name": f"{alert} {'fires' if fires else 'is silent'}", "interval": interval,
            "input_series": [{"series": with_instance(name), "values": values.replace(f"x{HOUR}", f"x{2 * HOUR}")} for name, values in series],
            "promql_expr_test": [{"expr": query, "eval_time": after, "exp_samples": [{"labels": "{}", "value": 1}] if fires else []}]}


@unittest.skipIf(shutil.which("promtool") is None, "promtool (package prometheus) is missing")
class Alerts(unittest.TestCase):
    def rules(self):
        with open(ALERTS) as file:
            return [rule for group in yaml.safe_load(file)["groups"] for rule in group["rules"]]

    def test_every_alert_is_explained_and_has_cases(self):
        names = [rule["alert"] for rule in self.rules()]
        self.assertEqual(sorted(names), sorted(CASES))
        for rule in self.rules():
            self.assertEqual(set(rule["annotations"]), {"summary", "meaning", "action"}, rule["alert"])
            self.assertIn(rule["labels"]["severity"], ("critical", "warning", "info"))

    def test_they_fire_and_are_silent(self):
        with tempfile.TemporaryDirectory() as folder:
            paths = []
            for interval, alerts in (("15s", [a for a in CASES if a not in IN_DAYS]), ("4m", IN_DAYS)):
                cases = [promtool_case(alert, series, fires, interval) for alert in alerts
                         for fires, series in zip((True, False), CASES[alert])]
                paths.append(os.path.join(folder, interval + ".yaml"))
                with open(paths[-1], "w") as file:
                    yaml.safe_dump({"rule_files": [ALERTS], "evaluation_interval": interval, "tests": cases}, file)
            done = subprocess.run(["promtool", "test", "rules", *paths], capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
