"""200 held-out questions through the running server: the same answers, token for token, as the PyTorch oracle gives greedily in f32.

Oracle and score: tests/golden/reference_answers.jsonl (make_reference_answers.py). Asked over HTTP, streamed and not, eight at once,
two ranks, f32 weights and pages; a part of them through curl.
"""
import concurrent.futures
import json
import os
import shutil
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from server_process import ROOT, ServerProcess  # noqa: E402

QUESTIONS = [json.loads(line) for line in open(os.path.join(ROOT, "tests/golden/reference_answers.jsonl"))]


def body(question):
    return {"model": "reference", "messages": question["messages"], "temperature": 0, "max_tokens": 40}


class ReferenceAnswers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = ServerProcess(ranks=2, extra=["--weights", "f32", "--kv-dtype", "f32"])
        cls.server.start()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def ask(self, question):
        """(what differs from the oracle or None, whether the answer is right)."""
        answer = self.server.post("/v1/chat/completions", dict(body(question), return_token_ids=True))
        choice = answer["choices"][0]
        text = choice["message"]["content"]
        if choice["token_ids"] != question["answer_tokens"] or text != question["answer"]:
            return f"{text!r} {choice['token_ids']} instead of {question['answer']!r} {question['answer_tokens']}", False
        return None, text.strip() == question["expected"].strip()

    def stream(self, question):
        pieces = []
        for event in self.server.stream("/v1/chat/completions", body(question)):
            for choice in event["choices"]:
                pieces.append(choice["delta"].get("content") or "")
        return None if "".join(pieces) == question["answer"] else f"{''.join(pieces)!r} instead of {question['answer']!r}"

    def test_1_token_for_token(self):
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            outcomes = list(pool.map(self.ask, QUESTIONS))
        wrong = [difference for difference, _ in outcomes if difference]
        right = sum(1 for _, good in outcomes if good)
        oracle = sum(1 for question in QUESTIONS if question["right"])
        print(f"score: {right} of {len(QUESTIONS)} right; the PyTorch oracle: {oracle}", file=sys.stderr)
        self.assertEqual(len(QUESTIONS), 200)
        self.assertEqual(wrong, [])
        self.assertEqual(right, oracle)

    def test_2_streamed(self):
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            wrong = [w for w in pool.map(self.stream, QUESTIONS[:60]) if w]
        self.assertEqual(wrong, [])

    def test_3_through_curl(self):
        if shutil.which("curl") is None:
            self.skipTest("curl is missing")
        for question in QUESTIONS[:5]:
            done = subprocess.run(["curl", "-sS", self.server.url + "/v1/chat/completions", "-H", "Content-Type: application/json",
                                   "-d", json.dumps(body(question))], capture_output=True, text=True, check=True, timeout=60)
            self.assertEqual(json.loads(done.stdout)["choices"][0]["message"]["content"], question["answer"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
