"""16 chats in which every turn spills and returns: pages for about one chat, a small memory tier, a disk tier that evicts, and beside it a
server without a store that answers the same turns. No difference in text or logprobs, no growth of memory, nothing restarted.

LEADLINE_KV_SOAK_SECONDS changes the length; 1800 is the full run. LEADLINE_KV_SOAK_CODEC=none keeps blocks as they are.
"""
# labels: soak slow
import os
import sys
import tempfile
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from server_process import ServerProcess  # noqa: E402
from soak_test import resident_bytes  # noqa: E402

SECONDS = float(os.environ.get("LEADLINE_KV_SOAK_SECONDS", "120"))
CODEC = os.environ.get("LEADLINE_KV_SOAK_CODEC", "lossless")
CHATS, CLIENTS = 16, 4
POOL = ["--max-seqs", "4", "--max-model-len", "1024"]
SYSTEM = "You are a patient gardener who answers in few words and knows every plant by its old name. " * 4


def words(number, turn, count):
    return " ".join(f"{(number * 7919 + turn * 613 + i * 104729) % 9973}" for i in range(count))


class Chat:
    """One conversation as a growing text, the same for both servers; begun anew when it is long."""

    def __init__(self, number):
        self.number, self.round, self.turn = number, 0, 0
        self.begin()

    def begin(self):
        # half of the chats share their beginning
        self.text = (SYSTEM if self.number % 2 else words(self.number, -1 - self.round, 60)) + words(self.number, self.round, 60)

    def body(self, model):
        return {"model": model, "prompt": self.text, "max_tokens": 12, "logprobs": 2, "seed": self.number + self.turn,
                "temperature": 0.8 if self.number % 4 == 3 else 0, "ignore_eos": True}

    def go_on(self, answer):
        self.turn += 1
        self.text += answer["choices"][0]["text"] + " " + words(self.number, self.turn, 12)
        if answer["usage"]["total_tokens"] > 800:
            self.round += 1
            self.begin()
            return False
        return True


class Counts:
    def __init__(self):
        self.lock = threading.Lock()
        self.turns = self.later = self.returned = self.restarted_chats = 0
        self.tokens = {}
        self.problems = []

    def add(self, later, answer, same):
        tiers = answer["usage"]["prompt_tokens_details"]["cached_by_tier"]
        with self.lock:
            self.turns += 1
            self.later += later
            self.returned += later and tiers["memory"] + tiers["disk"] > 0
            for tier, tokens in tiers.items():
                self.tokens[tier] = self.tokens.get(tier, 0) + tokens
            if not same:
                self.problems.append(answer)


class KvSoak(unittest.TestCase):
    def test_every_turn_spills_and_returns(self):
        with tempfile.TemporaryDirectory(prefix="leadline-kv-soak-") as disk, \
                ServerProcess(ranks=1, extra=[*POOL, "--kv-memory", "0", "--kv-disk-bytes", "0"]) as plain, \
                ServerProcess(ranks=2, extra=[*POOL, "--kv-pool", "4MiB", "--kv-memory", "32MiB", "--kv-disk", disk,
                                              "--kv-disk-bytes", "96MiB", "--kv-codec", CODEC]) as server:
            counts, end = Counts(), time.monotonic() + SECONDS

            def client(chats):
                later = dict.fromkeys(chats, False)
                while time.monotonic() < end and len(counts.problems) < 3:
                    for chat in chats:
                        try:
                            asked = "with the store"
                            answer = server.post("/v1/completions", chat.body(server.model), timeout_s=600)
                            asked = "without"
                            other = plain.post("/v1/completions", chat.body(plain.model), timeout_s=600)
                        except Exception as error:
                            counts.problems.append(f"chat {chat.number}, turn {chat.turn}, the server {asked}: {error!r}")
                            return
                        counts.add(later[chat], answer, answer["choices"] == other["choices"])
                        later[chat] = chat.go_on(other)

            clients = [threading.Thread(target=client, args=([Chat(n) for n in range(CHATS) if n % CLIENTS == i],)) for i in range(CLIENTS)]
            for thread in clients:
                thread.start()
            pids = server.children("leadline-worker") + server.children("leadline-coordinator")
            early = None
            while any(thread.is_alive() for thread in clients):
                clients[0].join(1)
                if early is None and time.monotonic() > end - SECONDS * 2 / 3:
                    early = {pid: resident_bytes(pid) for pid in pids}
                for thread in clients:
                    thread.join(0.2)
            late = {pid: resident_bytes(pid) for pid in pids}
            print(f"codec {CODEC}: {counts.turns} turns, {counts.later} later ones, {counts.returned} of these from a tier; tokens {counts.tokens}; resident MiB "
                  f"{', '.join(f'{early[p] >> 20} -> {late[p] >> 20}' for p in pids)}", file=sys.stderr)
            self.assertEqual(counts.problems, [])
            self.assertGreater(counts.returned, 0.8 * counts.later)
            self.assertGreaterEqual(counts.later, CHATS)
            for pid in pids:
                self.assertLess(late[pid], early[pid] * 1.1 + (24 << 20), f"process {pid} grows")
            self.assertEqual(pids, server.children("leadline-worker") + server.children("leadline-coordinator"), "nothing was restarted")


if __name__ == "__main__":
    unittest.main(verbosity=2)
