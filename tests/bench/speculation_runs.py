#!/usr/bin/env python3
"""Real runs of exit policies on a server of this process's own: the same prompts under every policy, taking turns.

    python3 models/reference/inflate.py W/1b
    tests/bench/speculation_runs.py --model W/1b --batch 1 --seconds 120 --out W/runs.jsonl off static:2,4 threshold:2,12,0.4 file:W/lede.llp
    tests/bench/speculation_runs.py --model W/1b --batch 4 --guard --groups 12 --out W/guard.jsonl off auto

One line of W/runs.jsonl per policy and group of `batch` prompts: tokens and seconds between the first moment at which all sequences of the
group had a token and the first at which one was done, and how many each had at the beginning, so that `leadline policy agree` can replay the
very same stretch. --guard leaves the decision to the server (mode auto: the guard may hold drafts back); else the guard is passed by.
Prompts of one split and temperature are taken in order, tasks in turn. What the file already has of a policy and group is not run again: a
run cut into slices goes on where it ended, with the same command.
"""
import argparse
import json
import os
import sys
import threading
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests/integration"))
from server_process import ServerProcess  # noqa: E402


def prompts_of(path, split):
    """Of each temperature: (index among the split's prompts, seed, text), tasks in turn."""
    with open(path, encoding="utf8") as file:
        lines = [(number, json.loads(line)) for number, line in enumerate(file, 1)]
    chosen = [(number, line) for number, line in lines if line["split"] == split]
    tasks = {}
    for index, (number, line) in enumerate(chosen):
        tasks.setdefault(line["task"], []).append((index, number, line["text"]))
    return [prompt for turn in zip(*tasks.values()) for prompt in turn]


def put_policy(server, text):
    request = urllib.request.Request(server.worker_admin_url(0) + "/policy", data=text.encode(), method="POST")
    with urllib.request.urlopen(request, timeout=30) as answer:
        if answer.status != 200:
            sys.exit(f"policy {text}: {answer.read()[:300]!r}")


def answer(server, prompt, options, temperature, times, most):
    """Appends (seconds, tokens so far) of every event, and at last the tokens."""
    body = {"model": server.model, "prompt": prompt[2], "max_tokens": most, "temperature": temperature, "seed": prompt[1],
            "ignore_eos": True, "return_token_ids": True,
            "speculation": {"mode": "auto" if options.guard else "learned", "max_draft": options.max_draft}}
    tokens = []
    for event in server.stream("/v1/completions", body, timeout_s=140):
        for choice in event.get("choices", []):
            tokens += choice.get("token_ids") or []
        if tokens:
            times.append((time.monotonic(), len(tokens)))
    times.append(tokens)


def tokens_at(times, moment):
    return max([count for when, count in times if when <= moment], default=0)


def all_at_once(server, group, options, temperature, most):
    """Of each prompt (seconds, tokens so far), and its tokens."""
    all_times = [[] for _ in group]
    threads = [threading.Thread(target=answer, args=(server, prompt, options, temperature, times, most))
               for prompt, times in zip(group, all_times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tokens = [times.pop() for times in all_times]
    if any(len(each) != most for each in tokens):
        sys.exit(f"answers of {[len(each) for each in tokens]} tokens instead of {most}")
    return all_times, tokens


def run_group(server, group, options, temperature):
    all_at_once(server, group, options, temperature, 1)  # prompts' KV is there then: all begin within a step or two
    all_times, tokens = all_at_once(server, group, options, temperature, options.tokens)
    begin = max(times[0][0] for times in all_times)
    end = min(times[-1][0] for times in all_times)
    if end <= begin:
        sys.exit(f"--tokens {options.tokens}: one answer ended before all had begun, there is no stretch to compare")
    at_begin = [tokens_at(times, begin) for times in all_times]
    return {"begin": at_begin, "end": [tokens_at(times, end) for times in all_times], "seconds": end - begin}, tokens


def groups_of(prompts, options):
    """(number, prompts, temperature): greedy and sampled in turn."""
    size, temperatures = options.batch, [float(t) for t in options.temperatures.split(",")]
    for number in range(options.groups):
        begin = number // len(temperatures) * size
        if begin + size > len(prompts):
            return
        yield number, prompts[begin:begin + size], temperatures[number % len(temperatures)]


def done_before(options):
    """Tokens of what the file has, by group and policy."""
    done = {}
    if not os.path.exists(options.out):
        return done
    with open(options.out, encoding="utf8") as file:
        for line in map(json.loads, file):
            if (line["batch"], line["guard"], line["split"]) == (options.batch, options.guard, options.split):
                done.setdefault(line["group"], {})[line["policy"]] = line["tokens"]
    return done


def run_all(server, out, options):
    """Policies in turn, group by group, as long as the longest run so far still fits into the time; how many were run."""
    began, longest, ran = time.monotonic(), 0.0, 0
    done = done_before(options)
    for number, group, temperature in groups_of(prompts_of(options.prompts, options.split), options):
        have = done.setdefault(number, {})
        for text in options.policies if number % 2 == 0 else options.policies[::-1]:
            if text in have:
                continue
            start = time.monotonic()
            if start - began + longest > options.seconds:
                return ran
            put_policy(server, text)
            result, tokens = run_group(server, group, options, temperature)
            same = all(tokens == other for other in have.values())
            have[text] = tokens
            result.update(policy=text, batch=options.batch, temperature=temperature, group=number, split=options.split,
                          prompts=[prompt[0] for prompt in group], same=same, guard=options.guard, tokens=tokens)
            out.write(json.dumps(result) + "\n")
            out.flush()
            longest = max(longest, time.monotonic() - start)
            ran += 1
    return ran


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("policies", nargs="+", help="as the worker's --speculation; the first is the baseline")
    parser.add_argument("--model", required=True)
    parser.add_argument("--prompts", default=os.path.join(ROOT, "models/reference/tasks.jsonl"))
    parser.add_argument("--split", default="held-out")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--seconds", type=float, default=100, help="no run begins that would end later, by the longest so far")
    parser.add_argument("--groups", type=int, default=1 << 30, help="at most, those of earlier slices too")
    parser.add_argument("--temperatures", default="0,0.6", help="taken in turn")
    parser.add_argument("--max-draft", type=int, default=12, help="of a round, as in replay")
    parser.add_argument("--guard", action="store_true")
    parser.add_argument("--start", default="off", help="--speculation of the server; its exits are the candidates")
    parser.add_argument("--out", required=True)
    options = parser.parse_args()
    # Room for what policies ask for: the replay knows no limit of a step's rows.
    extra = ["--max-seqs", str(max(options.batch, 2)), "--max-model-len", "2048", "--kv-pool", "1GiB", "--speculation", options.start,
             "--step-tokens", "512"]
    with ServerProcess(model=options.model, extra=extra) as server, open(options.out, "a", encoding="utf8") as out:
        print(f"speculation runs: {run_all(server, out, options)} of batch {options.batch} in this slice")


if __name__ == "__main__":
    main()
