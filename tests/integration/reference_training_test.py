#!/usr/bin/env python3
# labels: slow
"""The reference model's training scripts run: data, a few steps, export, and the engine loads what came out. That training
works is shown by the committed model; this only keeps the scripts alive. Skipped where torch is missing."""
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODEL = os.path.join(ROOT, "models/reference")
TRAIN = os.path.join(MODEL, "train")
TOOL = os.path.join(os.environ.get("LEADLINE_BUILD_DIR", os.path.join(ROOT, "build/release")), "bin/leadline-logits")


def run(*command, **more):
    env = dict(os.environ, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", OMP_WAIT_POLICY="PASSIVE")
    result = subprocess.run(command, capture_output=True, text=True, timeout=240, env=env, **more)
    if result.returncode != 0:
        raise AssertionError(f"{' '.join(command)}\n{result.stdout}\n{result.stderr}")
    return result.stdout


def script(name, *arguments):
    return run(sys.executable, os.path.join(TRAIN, name), *arguments)


class Questions(unittest.TestCase):
    def test_same_seed_same_questions(self):
        one = script("textgen.py", "--questions", "5", "--seed", "3")
        self.assertEqual(one, script("textgen.py", "--questions", "5", "--seed", "3"))
        self.assertNotEqual(one, script("textgen.py", "--questions", "5", "--seed", "4"))
        for line in one.splitlines():
            question = json.loads(line)
            self.assertEqual(question["messages"][-1]["role"], "user")
            fact = question["answer"].split()[-1].rstrip(".")
            self.assertIn(fact, question["messages"][-1]["content"])


@unittest.skipUnless(importlib.util.find_spec("torch"), "torch is not installed")
class Training(unittest.TestCase):
    def test_a_few_steps_end_in_a_model_that_the_engine_loads(self):
        with tempfile.TemporaryDirectory() as work:
            data, model, out = os.path.join(work, "data"), os.path.join(work, "m.pt"), os.path.join(work, "out")
            script("prepare.py", data, "--share", "0.002", "--tokenizer", os.path.join(MODEL, "tokenizer.json"))
            log = script("train.py", data, model, "--steps", "4", "--copying-steps", "2", "--longest", "48")
            self.assertIn("step 4: ", log)
            self.assertIn("exits", log)
            script("train.py", data, model, "--steps", "1", "--start", model, "--longest", "48")
            script("export.py", model, out, "--tokenizer", os.path.join(data, "tokenizer.json"))
            with open(os.path.join(MODEL, "config.json")) as ours, open(os.path.join(out, "config.json")) as theirs:
                self.assertEqual(json.load(ours), json.load(theirs))
            tokens = run(TOOL, "--model", out, "greedy", "3", input="4088 72 105\n").split()
            self.assertEqual(len(tokens), 3)

    def test_the_trained_weights_mean_the_same_here_and_in_the_oracle(self):
        import torch
        sys.path[:0] = [TRAIN, os.path.join(ROOT, "tests/golden")]
        from model import Decoder, Dimensions
        from oracle import Oracle
        oracle, decoder = Oracle(MODEL, dtype=torch.float32), Decoder(Dimensions())
        decoder.load_state_dict(oracle.w)
        tokens = [4088] + list(range(100, 140))
        with torch.no_grad():
            *_, x = decoder.states(torch.tensor([tokens]))
            ours, expected = decoder.head(x)[0], oracle.logits(tokens)
        self.assertLess(((ours - expected).norm() / expected.norm()).item(), 1e-5)


if __name__ == "__main__":
    unittest.main()
