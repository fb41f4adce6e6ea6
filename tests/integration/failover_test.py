#!/usr/bin/env python3
"""The real leadline-coordinator over fake worker processes (leadline-fake-worker, real links): a killed worker's streams go on byte by
byte elsewhere, work that is handed back finds another worker, disconnects reach the worker, a loading worker gets nothing.
"""
import http.client
import json
import os
import re
import subprocess
import tempfile
import threading
import time
import unittest
from urllib.parse import urlparse

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.path.join(os.environ.get("LEADLINE_BUILD_DIR", os.path.join(ROOT, "build/release")), "bin")


class Process:
    def __init__(self, program, *flags):
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen([os.path.join(BIN, program), *flags], stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.line = self.process.stdout.readline().strip()

    def lines(self):
        self.log.seek(0)
        return self.log.read().splitlines()

    def stop(self, kill=False):
        if self.process.poll() is None:
            self.process.kill() if kill else self.process.terminate()
            self.process.wait(20)
        self.process.stdout.close()


class Failover(unittest.TestCase):
    def cluster(self, *worker_flags, coordinator=()):
        self.workers = [Process("leadline-fake-worker", *flags) for flags in worker_flags]
        addresses = [flag for worker in self.workers for flag in ("--worker", worker.line.split()[-1])]
        self.coordinator = Process("leadline-coordinator", "--model", os.path.join(ROOT, "models/reference"), "--port", "0",
                                   "--admin-port", "0", *addresses, *coordinator)
        for process in [self.coordinator, *self.workers]:
            self.addCleanup(process.stop)
        self.url = re.search(r"listening on (\S+)", self.coordinator.line).group(1)
        self.admin = re.search(r"admin (\S+)", self.coordinator.line).group(1)

    def wait(self, condition, what, limit_s=30):
        deadline = time.monotonic() + limit_s
        while not condition():
            self.assertLess(time.monotonic(), deadline, what)
            time.sleep(0.02)

    def ready_links(self):
        return sum(float(v) for v in re.findall(r'leadline_worker_link_state\{state="ready".*?\} (\S+)', self.metrics()))

    def metrics(self):
        connection = http.client.HTTPConnection(urlparse(self.admin).netloc, timeout=10)
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()

    def ask(self, seed, stream=True, **more):
        body = {"model": "reference", "messages": [{"role": "user", "content": "hi"}], "seed": seed, "max_tokens": 60, "ignore_eos": True,
                "stream": stream, "return_token_ids": True, **more}
        connection = http.client.HTTPConnection(urlparse(self.url).netloc, timeout=60)
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
        return connection, connection.getresponse()

    def read(self, seed, **more):
        _, response = self.ask(seed, **more)
        data = response.read().decode()
        self.assertEqual(response.status, 200, data)
        events = [json.loads(line[6:]) for line in data.splitlines() if line.startswith("data: {")]
        for event in events:
            self.assertNotIn("error", event)
        self.assertTrue(data.rstrip().endswith("data: [DONE]"))
        choices = [event["choices"][0] for event in events if event["choices"]]
        return [i for c in choices for i in c.get("token_ids", [])], "".join(c["delta"].get("content", "") for c in choices)

    def test_streams_of_a_killed_worker_go_on_unbroken(self):
        self.cluster(["--step-ms", "20"], ["--step-ms", "20"])
        self.wait(lambda: self.ready_links() == 2, "both workers ready")
        expected = {}
        for seed in range(3):
            expected[seed] = self.read(seed)
        answers = {}
        threads = [threading.Thread(target=lambda s=seed: answers.update({s: self.read(s % 3)})) for seed in range(12)]
        for thread in threads:
            thread.start()
        self.wait(lambda: any("generated 0" in line for line in self.workers[0].lines()), "work on the first worker")
        time.sleep(0.4)
        self.workers[0].stop(kill=True)
        for thread in threads:
            thread.join()
        for seed, answer in answers.items():
            self.assertEqual(answer, expected[seed % 3], seed)
        self.assertEqual(len(answers), 12)
        continued = [line for line in self.workers[1].lines() if re.search(r"generated [1-9]", line)]
        self.assertTrue(continued, "no stream was continued")
        self.assertIn('leadline_request_migrations_total{outcome="no_worker"} 0', self.metrics())

    def test_alone_a_killed_worker_ends_the_stream_with_an_error_event(self):
        self.cluster(["--step-ms", "20"])
        self.wait(lambda: self.ready_links() == 1, "the worker ready")
        _, response = self.ask(1)
        response.readline()
        self.workers[0].stop(kill=True)
        last = [line for line in response.read().decode().splitlines() if line.startswith("data: ")][-1]
        self.assertEqual(json.loads(last[6:])["error"]["type"], "service_unavailable_error")

    def test_work_that_is_handed_back_finds_another_worker(self):
        self.cluster(["--inbox", "0"], ["--step-ms", "1"])
        self.wait(lambda: self.ready_links() == 2, "both workers ready")
        for seed in range(4):
            self.assertEqual(len(self.read(seed)[0]), 60)

    def test_a_disconnect_reaches_the_worker_in_decode_and_in_the_queue(self):
        self.cluster(["--step-ms", "50", "--max-sequences", "1"])
        self.wait(lambda: self.ready_links() == 1, "the worker ready")
        first, response = self.ask(1)
        response.readline()
        first.close()
        response.close()
        self.wait(lambda: any(line.startswith("cancel") for line in self.workers[0].lines()), "the cancel")
        self.assertEqual(len(self.read(2, max_tokens=3)[0]), 3)
        self.wait(lambda: "leadline_requests_running 0" in self.metrics(), "nothing runs")

    def test_requests_wait_while_the_worker_loads(self):
        self.cluster(["--load-ms", "1500", "--step-ms", "1"])
        started = time.monotonic()
        self.assertEqual(len(self.read(1)[0]), 60)
        self.assertGreater(time.monotonic() - started, 0.3)

    def test_a_worker_that_never_comes_is_503(self):
        self.cluster(["--load-ms", "60000"], coordinator=["--no-worker-timeout-ms", "300"])
        _, response = self.ask(1)
        self.assertEqual(response.status, 503)
        self.assertIsNotNone(response.getheader("Retry-After"))


if __name__ == "__main__":
    unittest.main(warnings="ignore")
