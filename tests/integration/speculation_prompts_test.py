"""Distinct prompts answered with drafts and without: tokens and logprobs must be equal, whatever the policy, its swaps, the batch and the
ranks. Greedy and sampled in turn.

    LEADLINE_PROMPTS=500 tests/integration/speculation_prompts_test.py      all of them, on 4 ranks, too (slow); default: 16
"""
import concurrent.futures
import json
import os
import unittest
import urllib.request

from server_process import ROOT, ServerProcess

COUNT = int(os.environ.get("LEADLINE_PROMPTS", "16"))
TOKENS, TOGETHER = 24, 6
WAIT_S = 120 if COUNT <= 100 else 3600  # all 500 run in the background, at a low priority
POLICIES = ["static:1,4", "threshold:2,8,0.3", "static:5,3", "del", "static:3,12", "threshold:4,6,0.7"]
SERVERS = [(1, 0), (2, 1)] + ([(2, 0), (4, 0), (4, 1)] if COUNT > 100 else [])  # ranks, draft ranks


def all_prompts():
    """Of the tasks and of the golden questions, tasks in turn, each once."""
    with open(os.path.join(ROOT, "models/reference/tasks.jsonl"), encoding="utf8") as file:
        tasks = [json.loads(line)["text"] for line in file]
    with open(os.path.join(ROOT, "tests/golden/reference_answers.jsonl"), encoding="utf8") as file:
        golden = [json.dumps(json.loads(line)["messages"]) for line in file]
    texts = list(dict.fromkeys(tasks + golden))
    step = 97  # shares no factor with the number of texts worth naming: any first few are of all kinds
    return [texts[i * step % len(texts)] for i in range(len(texts))] if len(texts) % step else texts


def ask(server, number, prompt):
    body = {"model": server.model, "prompt": prompt, "max_tokens": TOKENS, "logprobs": 1, "return_token_ids": True, "seed": number,
            "ignore_eos": True, "temperature": 0.0 if number % 2 == 0 else 0.9, "speculation": {"mode": "learned"}}
    choice = server.post("/v1/completions", body, timeout_s=WAIT_S)["choices"][0]
    return choice["token_ids"], choice["logprobs"]["token_logprobs"]


def ask_all(server, prompts, policies=()):
    """Six at a time; the policy is exchanged every few answers, in the midst of others' rounds."""
    answers = [None] * len(prompts)
    with concurrent.futures.ThreadPoolExecutor(TOGETHER) as pool:
        waiting = {pool.submit(ask, server, i, prompt): i for i, prompt in enumerate(prompts)}
        for done, future in enumerate(concurrent.futures.as_completed(waiting)):
            answers[waiting[future]] = future.result()
            if policies and done % 5 == 4:
                policy = policies[done // 5 % len(policies)]
                request = urllib.request.Request(server.worker_admin_url(0) + "/policy", data=policy.encode(), method="POST")
                urllib.request.urlopen(request, timeout=WAIT_S).close()
    return answers


class SpeculationPrompts(unittest.TestCase):
    def test_answers_are_those_without_drafts(self):
        prompts = all_prompts()[:COUNT]
        self.assertEqual(len(prompts), COUNT, "there are not so many distinct prompts")
        ServerProcess.ready_timeout_s = WAIT_S
        with ServerProcess(extra=["--speculation", "off", "--max-seqs", "8"]) as server:
            plain = ask_all(server, prompts)
        print(f"{COUNT} prompts without drafts: done", flush=True)
        for ranks, draft_ranks in SERVERS:
            extra = ["--speculation", POLICIES[0], "--max-seqs", "8", "--draft-ranks", str(draft_ranks)]
            with ServerProcess(ranks=ranks, extra=extra) as server:
                got = ask_all(server, prompts, POLICIES if draft_ranks == 0 else [p for p in POLICIES if p != "del"])
                drafted = sum(v for k, v in server.metrics(worker=0).items() if k.startswith("leadline_speculation_rounds_total"))
            self.assertGreater(drafted, COUNT, "nobody drafted")
            for number, (want, have) in enumerate(zip(plain, got)):
                self.assertEqual(have, want, f"prompt {number} on {ranks} ranks, draft ranks {draft_ranks}: {prompts[number][:80]!r}")
            print(f"{COUNT} prompts, {ranks} ranks, draft ranks {draft_ranks}: equal; {drafted:.0f} rounds", flush=True)


if __name__ == "__main__":
    unittest.main()
