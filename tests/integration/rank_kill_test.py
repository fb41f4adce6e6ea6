"""kill -9 on a rank under load: the group ends, the supervisor starts it again, and clients see one unbroken answer or a clear error.

With two workers every request, streaming or waiting, ends byte-identical to an undisturbed one. With one worker streaming requests
end with an error event, waiting ones finish after the restart, and /readyz tells the truth throughout.
"""
import json
import os
import signal
import sys
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from server_process import ServerProcess  # noqa: E402

TOKENS = 220


def request(i):
    """Sampled, long, and different for each i; the seed makes it the same wherever it runs."""
    return {"model": "reference", "prompt": f"Story number {i}. Once upon a time there was", "max_tokens": TOKENS, "ignore_eos": True,
            "temperature": 0.8, "seed": 100 + i}


def read_stream(server, i, texts, errors, started=None):
    text = ""
    try:
        for event in server.stream("/v1/completions", request(i)):
            if "error" in event:
                errors[i] = event["error"]
                break
            for choice in event["choices"]:
                text += choice["text"]
            if started is not None and text:
                started.set()
    except Exception as error:  # a broken connection is what this test looks for
        errors[i] = repr(error)
    texts[i] = text


def run_streams(server, count, during=None):
    texts, errors = [None] * count, [None] * count
    started = [threading.Event() for _ in range(count)]
    threads = [threading.Thread(target=read_stream, args=(server, i, texts, errors, started[i])) for i in range(count)]
    for thread in threads:
        thread.start()
    if during is not None:
        for event in started:
            event.wait(60)
        during()
    for thread in threads:
        thread.join()
    return texts, errors


class RankKill(unittest.TestCase):
    def test_two_workers_streams_go_on_unbroken(self):
        with ServerProcess(ranks=2, workers=2) as server:
            calm, errors = run_streams(server, 8)
            self.assertEqual([e for e in errors if e], [])
            ready = []

            def kill():
                victim = server.children("leadline-worker")[-1]  # a rank of the last worker
                os.kill(victim, signal.SIGKILL)
                ready.append(server.is_ready())

            disturbed, errors = run_streams(server, 8, kill)
            self.assertEqual([e for e in errors if e], [])
            self.assertEqual(disturbed, calm)
            self.assertEqual(ready, [True], "one worker is still there")
            server.wait_until(lambda: self.ready_workers(server) == 2, 60, "the restarted worker")
            self.assertIn("starting it again", server.log())
            again, errors = run_streams(server, 4)
            self.assertEqual(again, calm[:4])

    @staticmethod
    def ready_workers(server):
        return sum(v for k, v in server.metrics().items() if k.startswith("leadline_worker_link_state{") and 'state="ready"' in k)

    def test_one_worker_says_so_and_comes_back(self):
        with ServerProcess(ranks=2, workers=1, extra=["--max-seqs", "2"]) as server:
            calm, _ = run_streams(server, 6)
            states, over = [], threading.Event()

            def watch():
                while not over.is_set():
                    states.append(server.is_ready())
                    time.sleep(0.02)

            texts, errors = [None] * 6, [None] * 6
            threads = []
            first = threading.Event()
            for i in range(6):  # two run, four wait in the worker
                threads.append(threading.Thread(target=read_stream, args=(server, i, texts, errors, first)))
                threads[-1].start()
            first.wait(60)
            watcher = threading.Thread(target=watch)
            watcher.start()
            ranks = server.children("leadline-worker")
            os.kill(ranks[-1], signal.SIGKILL)
            for thread in threads:
                thread.join()
            server.wait_until(server.is_ready, 60, "the restart")
            over.set()
            watcher.join()
            self.assertIn(False, states, "/readyz must say that nothing serves while the worker is gone")
            for i in range(6):
                if errors[i] is None:
                    self.assertEqual(texts[i], calm[i], "an answer that ended without an error is the right one")
                else:
                    self.assertTrue(calm[i].startswith(texts[i]), "what was streamed before the error is right")
                    self.assertIsInstance(errors[i], dict, f"an error event, not a broken connection: {errors[i]}")
            self.assertTrue(any(errors), "somebody was streaming when the only worker died")
            self.assertTrue(any(e is None for e in errors), "waiting requests finish after the restart")
            self.assertTrue(set(ranks).isdisjoint(server.children("leadline-worker")), "every rank of the group is new")
            again, errors = run_streams(server, 2)
            self.assertEqual(again, calm[:2])

    def test_a_stalled_rank_is_named_and_its_group_ends(self):
        with ServerProcess(ranks=2, workers=2, extra=["--stall-limit-ms", "2000"]) as server:
            calm, _ = run_streams(server, 4)
            stopped = []

            def stall():
                stopped.append(server.children("leadline-worker")[-1])
                os.kill(stopped[0], signal.SIGSTOP)

            begin = time.monotonic()
            try:
                disturbed, errors = run_streams(server, 4, stall)
                took = time.monotonic() - begin
                self.assertEqual([e for e in errors if e], [])
                self.assertEqual(disturbed, calm)
                self.assertLess(took, 30, "the stall limit is 2 s; the rest is the answers' own time")
                self.assertRegex(server.log(), r"rank \d")
            finally:
                try:
                    os.kill(stopped[0], signal.SIGCONT)
                except ProcessLookupError:
                    pass

    def test_a_stuck_group_is_still_observed(self):
        """Metrics and health of a worker whose step hangs answer at once, and tell it, until the stall limit ends the group."""
        with ServerProcess(ranks=2, workers=1, extra=["--stall-limit-ms", "6000"]) as server:
            seen, slowest = [], []

            def stall():
                rank = server.children("leadline-worker")[-1]
                os.kill(rank, signal.SIGSTOP)
                try:
                    deadline = time.monotonic() + 4
                    while time.monotonic() < deadline:
                        begin = time.monotonic()
                        seen.append(server.metrics(0)["leadline_step_age_seconds"])
                        self.assertEqual(server.request("/livez", base=server.worker_admin_url(0))[0], 200)
                        slowest.append(time.monotonic() - begin)
                        time.sleep(0.2)
                finally:
                    os.kill(rank, signal.SIGCONT)

            run_streams(server, 1, stall)
            self.assertGreater(max(seen), 2)
            self.assertEqual(seen, sorted(seen), "one step, ever older")
            self.assertLess(max(slowest), 2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
