#!/usr/bin/env python3
"""Where a running server's steps spend their time: the worker's step metrics over a run of `bench serve`, by stage.

Outside kernels are plan, announce, sample and deliver; the bar is 3 % of the step at the 1.1 B shape.

    tests/bench/step_stages.py --model DIR [--weights int8] [--at 1 16] [--temperature 0 0.7] [--ranks 1]
"""
import argparse
import os
import re
import subprocess
import sys
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests/integration"))
from server_process import BUILD, ServerProcess  # noqa: E402

STAGE = re.compile(r'^leadline_step_seconds_(sum|count)\{.*stage="(\w+)".*\} (\S+)$', re.M)


def totals(server):
    text = urllib.request.urlopen(server.worker_admin_url(0) + "/metrics", timeout=10).read().decode()
    return {(kind, stage): float(value) for kind, stage, value in STAGE.findall(text)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--weights", default="int8")
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--at", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--temperature", nargs="+", default=["0", "0.7"])
    options = parser.parse_args()
    extra = ["--weights", options.weights, "--max-model-len", "2048", "--kv-disk-bytes", "0"]
    with ServerProcess(ranks=options.ranks, model=options.model, extra=extra) as server:
        for at in options.at:
            for temperature in options.temperature:
                before = totals(server)
                subprocess.run([os.path.join(BUILD, "bin/leadline"), "bench", "serve", "--url", server.url, "--concurrency", str(at),
                                "--requests", str(max(at, 2)), "--prompt-tokens", "64", "--max-tokens", "32", "--max-token-id", "4000",
                                "--temperature", temperature, "--seed", str(at)], check=True, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
                spent = {key: value - before.get(key, 0) for key, value in totals(server).items()}
                seconds = {stage: value for (kind, stage), value in spent.items() if kind == "sum"}
                whole = sum(seconds.values())
                outside = whole - seconds.get("forward", 0) - seconds.get("draft", 0)
                stages = ", ".join(f"{stage} {1e6 * value / spent['count', 'forward']:.0f} us" for stage, value in seconds.items())
                print(f"{options.ranks} rank(s), {at:2} at once, temperature {temperature}: {spent['count', 'forward']:.0f} steps of "
                      f"{1e3 * whole / spent['count', 'forward']:.1f} ms ({stages}): {100 * outside / whole:.2f} % outside kernels",
                      flush=True)


if __name__ == "__main__":
    main()
