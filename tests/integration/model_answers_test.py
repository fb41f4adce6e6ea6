#!/usr/bin/env python3
"""200 held-out questions: the engine's greedy answers in f32 are the PyTorch oracle's, token for token, and the score is the
same. Through the model alone; the same questions over HTTP are another test's."""
import json
import os
import subprocess
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOOL = os.path.join(os.environ.get("LEADLINE_BUILD_DIR", os.path.join(ROOT, "build/release")), "bin/leadline-logits")
SHORT_PROMPT = 256

with open(os.path.join(ROOT, "tests/golden/reference_answers.jsonl")) as file:
    ROWS = [json.loads(line) for line in file]


def answers(rows, ranks):
    prompts = "".join(" ".join(map(str, row["prompt_tokens"])) + "\n" for row in rows)
    result = subprocess.run([TOOL, "--model", os.path.join(ROOT, "models/reference"), "--weights", "f32", "--kv", "f32",
                             "--ranks", str(ranks), "--chunk", "64", "--eos", "greedy", "40"],
                            input=prompts, capture_output=True, text=True, timeout=280)
    if result.returncode != 0:
        raise AssertionError(result.stderr)
    return [[int(token) for token in line.split()] for line in result.stdout.splitlines()]


class ReferenceAnswers(unittest.TestCase):
    def check(self, rows, ranks):
        ours = answers(rows, ranks)
        same = sum(tokens == row["answer_tokens"] for tokens, row in zip(ours, rows))
        right = sum(tokens == row["answer_tokens"] and row["right"] for tokens, row in zip(ours, rows))
        print(f"{same} of {len(rows)} as the oracle's, {right} right (oracle: {sum(row['right'] for row in rows)})", end=" ")
        for tokens, row in zip(ours, rows):
            self.assertEqual(tokens, row["answer_tokens"], row["messages"][-1]["content"][-80:])

    def test_there_are_200(self):
        self.assertEqual(len(ROWS), 200)

    def test_short_questions_on_two_ranks(self):
        self.check([row for row in ROWS if len(row["prompt_tokens"]) <= SHORT_PROMPT], 2)

    def test_all_questions(self):
        self.check(ROWS, 1)


if __name__ == "__main__":
    unittest.main()
