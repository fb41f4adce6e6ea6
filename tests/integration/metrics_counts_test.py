"""Figures that boards and alerts trust: every answered request is in every histogram, the fast ones too, and the phase is the present one."""
import unittest

from server_process import ServerProcess

ANSWERS = 7
PARTS = ("queue", "prefill", "ttft", "decode", "e2e")


class MetricsCounts(unittest.TestCase):
    def test_every_request_is_in_every_histogram(self):
        with ServerProcess(extra=["--threads", "1"]) as server:
            for number in range(ANSWERS):  # one at a time: none waits
                server.post("/v1/completions", {"model": server.model, "prompt": f"Day {number}", "max_tokens": 3, "ignore_eos": True})
            metrics = server.metrics()
            counts = {part: metrics[f"leadline_request_{part}_seconds_count"] for part in PARTS}
            self.assertEqual(counts, dict.fromkeys(PARTS, ANSWERS))
            self.assertEqual(metrics["leadline_request_inter_token_seconds_count"], 2 * ANSWERS)
            refused = server.request("/v1/completions", {"model": "no such model", "prompt": "x"})[0]
            self.assertEqual(refused, 404)
            after = server.metrics()
            self.assertEqual(after["leadline_request_e2e_seconds_count"], ANSWERS)
            finished = sum(value for name, value in after.items() if name.startswith("leadline_requests_finished_total"))
            self.assertEqual(finished, ANSWERS)

    def test_a_serving_worker_says_so(self):
        with ServerProcess(extra=["--threads", "1"]) as server:
            worker, coordinator = server.metrics(0), server.metrics()
            for metrics in (worker, coordinator):
                phases = {name: value for name, value in metrics.items() if name.startswith("leadline_startup_phase")}
                self.assertEqual([name for name, value in phases.items() if value], ['leadline_startup_phase{phase="ready"}'])
            self.assertGreater(worker['leadline_startup_seconds{phase="loading"}'], 0)


if __name__ == "__main__":
    unittest.main()
