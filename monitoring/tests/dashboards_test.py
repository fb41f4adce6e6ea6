""".ci/check_dashboards.py passes on this tree and fails on what it should find."""
import importlib.util
import os
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
spec = importlib.util.spec_from_file_location("check_dashboards", os.path.join(ROOT, ".ci/check_dashboards.py"))
check = importlib.util.module_from_spec(spec)
spec.loader.exec_module(check)


class Dashboards(unittest.TestCase):
    def setUp(self):
        self.series = check.read_metrics(os.path.join(ROOT, "tests/golden/metrics_list"))

    def test_the_tree_is_whole(self):
        self.assertEqual(check.main(), 0)

    def test_it_finds_what_is_wrong(self):
        wrong = {
            "rate(leadline_no_such_metric_total[5m])": "not exported",
            "leadline_request_queue_seconds": "not exported",  # a histogram has _bucket, _sum, _count
            'leadline_requests_waiting{cause="queue"}': "no label cause",
            'leadline_requests_waiting{reason="tired"}': "never has reason=tired",
            'leadline_requests_waiting{reason=~"queue|tired"}': "never has reason=tired",
            "sum by (rank) (leadline_steps_total)": "grouped by rank",
        }
        for query, message in wrong.items():
            found = check.check_query("here", query, self.series)
            self.assertEqual(len(found), 1, query)
            self.assertIn(message, found[0])

    def test_it_accepts_what_is_right(self):
        for query in ('sum by (le, instance) (rate(leadline_request_queue_seconds_bucket{le="5"}[5m]))',
                      'leadline_requests_waiting{reason="queue",namespace=~"a"}', "leadline_request_queue_seconds_sum"):
            self.assertEqual(check.check_query("here", query, self.series), [])

    def test_a_panel_asks_a_question(self):
        panel = {"type": "timeseries", "title": "x", "description": "Numbers.", "targets": []}
        self.assertIn("not a question", check.check_board("b", {"panels": [panel]}, self.series)[0][0])


if __name__ == "__main__":
    unittest.main()
