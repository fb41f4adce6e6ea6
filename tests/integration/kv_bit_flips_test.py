#!/usr/bin/env python3
"""10,000 random bits flipped in the blocks of a running server's disk tier, one in each block between two questions of its prompt: every
answer is that of a server without a store, and every block that is met is a counted miss and in quarantine.

LEADLINE_KV_FLIPS changes the number.
"""
# labels: slow
import glob
import os
import random
import tempfile
import unittest

from kv_store_test import OFF, ask, content, metric, prompt
from server_process import ServerProcess

FLIPS = int(os.environ.get("LEADLINE_KV_FLIPS", "10000"))
PROMPTS, WORDS = 24, 400  # about 65 pages of two heads each
POOL = ["--max-model-len", "2048", "--kv-pool", "16MiB", "--max-seqs", "2"]  # pages for one or two of them: the others are in the tier alone


class BitFlips(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="leadline-kv-flips-")
        self.addCleanup(directory.cleanup)
        self.root = os.path.join(directory.name, "v1")
        self.extra = [*POOL, "--kv-memory", "0", "--kv-disk", directory.name, "--kv-disk-bytes", "8GiB"]
        self.chance = random.Random(7)

    def questions(self, server):
        return [content(ask(server, prompt(number, WORDS))) for number in range(1, PROMPTS + 1)]

    def flip_every_block(self):
        """{path: (bytes before, bytes now)}"""
        flipped = {}
        for path in sorted(glob.glob(os.path.join(self.root, "blocks/*/*.kvb"))):
            with open(path, "r+b") as file:
                before = file.read()
                bit = self.chance.randrange(len(before) * 8)
                now = bytearray(before)
                now[bit // 8] ^= 1 << bit % 8
                file.seek(bit // 8)
                file.write(now[bit // 8:bit // 8 + 1])
            flipped[path] = (before, bytes(now))
        return flipped

    def still_flipped(self, flipped):
        """Blocks that nobody read; made whole again. A block that was met is gone, or stored anew as it was."""
        left = 0
        for path, (before, now) in flipped.items():
            if not os.path.exists(path):
                continue
            with open(path, "r+b") as file:
                data = file.read()
                if data == now:
                    left += 1
                    file.seek(0)
                    file.write(before)
                else:
                    self.assertEqual(data, before, path)
        return left

    def settled(self, server):
        server.wait_until(lambda: metric(server, "leadline_kv_tier_queued_bytes") == 0, what="an empty queue of the disk")

    def test_every_flip_is_a_counted_miss_and_no_token_is_wrong(self):
        with ServerProcess(ranks=1, extra=[*POOL, *OFF]) as plain:
            expected = self.questions(plain)
        met = rounds = 0
        with ServerProcess(ranks=1, extra=self.extra) as server:
            self.assertEqual(self.questions(server), expected)
            while met < FLIPS:
                self.settled(server)
                before = metric(server, "leadline_kv_tier_reads_total", tier="disk", outcome="corrupt")
                flipped = self.flip_every_block()
                self.assertGreater(len(flipped), PROMPTS * 40)
                self.assertEqual(self.questions(server), expected)
                self.settled(server)
                here = len(flipped) - self.still_flipped(flipped)
                self.assertEqual(metric(server, "leadline_kv_tier_reads_total", tier="disk", outcome="corrupt") - before, here)
                self.assertGreater(here, len(flipped) // 4, "most are met")
                met += here
                rounds += 1
                self.assertEqual(len(os.listdir(os.path.join(self.root, "quarantine"))), met)
            self.assertEqual(self.questions(server), expected)
            self.assertGreater(metric(server, "leadline_kv_tier_reads_total", tier="disk", outcome="hit"), 0)
        print(f"{met} flipped bits met in {rounds} rounds")


if __name__ == "__main__":
    unittest.main()
