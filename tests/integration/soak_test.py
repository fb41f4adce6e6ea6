"""64 concurrent streams for two minutes with random disconnects: no error, no leak of pages or memory.

LEADLINE_SOAK_SECONDS changes the length. Checked by the workers' counters (pages in use return to 0) and by resident memory, which
may not grow by more than a tenth (and 24 MiB) between the first third of the run and its end.
"""
# labels: soak slow
import http.client
import json
import os
import random
import sys
import threading
import time
import unittest
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from server_process import ServerProcess  # noqa: E402

SECONDS = float(os.environ.get("LEADLINE_SOAK_SECONDS", "120"))
STREAMS = 64


def resident_bytes(pid):
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Soak(unittest.TestCase):
    def one(self, host, port, chance):
        """One stream, left at a random moment or read to its end; an error text, or None."""
        body = {"model": "reference", "stream": True, "max_tokens": chance.choice([4, 20, 60, 150]), "seed": chance.randrange(1 << 30),
                "messages": [{"role": "user", "content": " ".join(chance.choice(self.words) for _ in range(chance.choice([3, 40, 200])))}]}
        leave_after = chance.choice([None, None, 0, 1, 5, 30])
        connection = http.client.HTTPConnection(host, port, timeout=120)
        try:
            connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
            if leave_after == 0:
                return None
            answer = connection.getresponse()
            if answer.status == 429:
                return None if answer.getheader("Retry-After") else "429 without Retry-After"
            if answer.status != 200:
                return f"status {answer.status}: {answer.read()[:200]!r}"
            seen, done = 0, False
            for line in answer:
                if line.startswith(b"data: [DONE]"):
                    done = True
                elif line.startswith(b"data:"):
                    if "error" in json.loads(line[5:]):
                        return line.decode()
                    seen += 1
                if leave_after is not None and seen >= leave_after:
                    return None
            return None if done else "the stream ended without [DONE]"
        finally:
            connection.close()

    def test_streams_with_random_disconnects(self):
        self.words = ["garden", "river", "seven", "Anna", "blue", "under", "house", "walks", "the", "and"]
        with ServerProcess(ranks=2, workers=1, extra=["--max-seqs", "32", "--kv-pool", "64MiB"]) as server:
            where = urllib.parse.urlparse(server.url)
            end = time.monotonic() + SECONDS
            problems, counts = [], [0] * STREAMS

            def client(i):
                chance = random.Random(i)
                while time.monotonic() < end and len(problems) < 10:
                    problem = self.one(where.hostname, where.port, chance)
                    counts[i] += 1
                    if problem:
                        problems.append(problem)

            clients = [threading.Thread(target=client, args=(i,)) for i in range(STREAMS)]
            for thread in clients:
                thread.start()
            pids = server.children("leadline-worker") + server.children("leadline-coordinator")
            time.sleep(SECONDS / 3)
            early = {pid: resident_bytes(pid) for pid in pids}
            for thread in clients:
                thread.join()
            late = {pid: resident_bytes(pid) for pid in pids}
            self.assertEqual(problems, [])
            server.wait_until(lambda: self.used_pages(server) == 0, 30, "no page in use after the last stream")
            metrics = server.metrics(worker=0)
            self.assertEqual(metrics["leadline_sequences_running"], 0)
            print(f"{sum(counts)} streams; resident MiB early -> late: "
                  + ", ".join(f"{early[p] >> 20} -> {late[p] >> 20}" for p in pids), file=sys.stderr)
            for pid in pids:
                self.assertLess(late[pid], early[pid] * 1.1 + (24 << 20), f"process {pid} grows")
            self.assertEqual(sorted(pids), sorted(server.children("leadline-worker") + server.children("leadline-coordinator")),
                             "nothing was restarted")

    @staticmethod
    def used_pages(server):
        return server.metrics(worker=0)['leadline_kv_pages{state="used"}']


if __name__ == "__main__":
    unittest.main(verbosity=2)
