#!/usr/bin/env python3
"""The system prompt of a chat stays where KV is compressed: from the chat template over the control protocol to the slots that a worker keeps."""
import unittest

from server_process import ServerProcess

SYSTEM = " ".join(f"Rule {i}: mention the colour of item {i * 37 % 100}." for i in range(60))
QUESTION = " ".join(f"Item {i} is number {i * 7919 % 997}." for i in range(40))
SEGMENT = 256  # tokens
LISTS = 12 * 2  # layers and KV heads of the reference model


class PinsOfASystemPrompt(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = ServerProcess(ranks=2)
        cls.server.start()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def slots(self):
        """(seen, kept) of all compressions so far."""
        sums = {"seen": 0, "kept": 0}
        for series, value in self.server.metrics(0).items():
            if series.startswith("leadline_kv_compression_slots_total"):
                for name in sums:
                    if f'"{name}"' in series:
                        sums[name] += value
        return sums["seen"], sums["kept"]

    def chat(self, system, kv):
        """Log probabilities of an answer, slots seen and kept for it."""
        messages = ([{"role": "system", "content": system}] if system else []) + [{"role": "user", "content": QUESTION}]
        before = self.slots()
        answer = self.server.post("/v1/chat/completions", {"model": self.server.model, "messages": messages, "max_tokens": 8, "seed": 1,
                                                           "temperature": 0, "logprobs": True, "top_logprobs": 2, "kv": kv})
        after = self.slots()
        return answer["choices"][0]["logprobs"], after[0] - before[0], after[1] - before[1]

    def system_tokens(self, system):
        messages = [{"role": "system", "content": system}]
        return len(self.server.post("/tokenize", {"model": self.server.model, "messages": messages, "add_generation_prompt": False})["tokens"])

    def test_it_stays_whole_where_a_threshold_merges_all_else(self):
        everything = {"compression": "semanticache", "threshold": -1}
        for system in (SYSTEM[:400], SYSTEM):
            tokens = self.system_tokens(system)
            pinned, seen, kept = self.chat(system, everything)
            loose, seen_loose, kept_loose = self.chat(system, {**everything, "pin_system": False})
            self.assertEqual(seen, seen_loose)
            within = min(tokens, seen // LISTS)
            self.assertGreater(within, 100)
            self.assertGreaterEqual(kept, LISTS * within)
            self.assertLess(kept_loose, kept - LISTS * within // 2)
            self.assertNotEqual(pinned, loose)

    def test_a_budget_counts_it(self):
        budget = {"compression": "streaming", "budget": 0.3}
        pinned, _, kept = self.chat(SYSTEM[:400], budget)
        loose, _, kept_loose = self.chat(SYSTEM[:400], {**budget, "pin_system": False})
        self.assertEqual(kept, kept_loose)
        self.assertNotEqual(pinned, loose)

    def test_a_chat_without_one_has_nothing_to_pin(self):
        budget = {"compression": "streaming", "budget": 0.3}
        self.assertEqual(self.chat(None, budget), self.chat(None, {**budget, "pin_system": False}))


class PinsByDefault(unittest.TestCase):
    def test_the_server_s_default_method_pins_too(self):
        with ServerProcess(extra=["--kv-compression", "streaming", "--kv-compression-budget", "0.3"]) as server:
            def logprobs(kv):
                messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}]
                return server.post("/v1/chat/completions", {"model": server.model, "messages": messages, "max_tokens": 8, "seed": 1,
                                                            "temperature": 0, "logprobs": True, "kv": kv})["choices"][0]["logprobs"]
            self.assertEqual(logprobs({}), logprobs({"compression": "streaming", "budget": 0.3}))
            self.assertNotEqual(logprobs({}), logprobs({"pin_system": False}))


if __name__ == "__main__":
    unittest.main()
