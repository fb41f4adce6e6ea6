#!/usr/bin/env python3
"""The running server beside llama.cpp's in one session: the same requests over HTTP, one server at a time, in turn, medians.

Needs a build of llama.cpp (llama-server) with its Q8_0 file of the 1.1 B shape, and a checkpoint of that shape for ours
(peer_model.py makes both). Both have all cores of the process, clients included. Prompts are random token ids, no two alike.
With --log, runs are appended to a file, so that short slices add up; --report prints the medians of such a file.

    tests/bench/serve_compare.py --peer LLAMA_CPP/build/bin --gguf 1b-Q8_0.gguf --checkpoint DIR [--rounds 3] [--at 1 8 16]
    tests/bench/serve_compare.py --report runs.jsonl
"""
import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests/integration"))
from server_process import ServerProcess  # noqa: E402

BUILD = os.environ.get("LEADLINE_BUILD_DIR", os.path.join(ROOT, "build/release"))
HIGHEST_ID = 4000  # prompts' token ids, below the reference tokenizer's markers
READY_SECONDS = 120


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class PeerServer:
    """One llama-server process, from its command to its end."""

    def __init__(self, command, port):
        self.url = f"http://127.0.0.1:{port}"
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        end = time.monotonic() + READY_SECONDS
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > end:
                self.stop()
                self.log.seek(0)
                sys.exit(f"{command[0]} did not get ready: {self.log.read()[-3000:]}")
            time.sleep(0.1)

    def answers(self):
        try:
            return urllib.request.urlopen(self.url + "/health", timeout=2).status == 200
        except (urllib.error.URLError, OSError):
            return False

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start_peer(options, at):
    port = free_port()
    context = at * (options.prompt + options.generate + 32)
    return PeerServer([os.path.join(options.peer, "llama-server"), "-m", options.gguf, "-t", str(options.threads), "-tb",
                   str(options.threads), "-np", str(at), "-c", str(context), "--host", "127.0.0.1", "--port", str(port)], port)


def start_ours(options, at):
    server = ServerProcess(ranks=options.ranks, model=options.checkpoint, program=os.path.join(BUILD, "bin/leadline"), extra=[
        "--weights", options.weights, "--threads", str(options.threads // options.ranks), "--max-model-len", "2048",
        "--kv-disk-bytes", "0", *options.more.split()])
    server.start()
    return server


STARTERS = {"leadline": start_ours, "llama.cpp": start_peer}


def measure(options, server, at, seed):
    """One run of `at` requests at once (at least two, so that one alone is not one sample)."""
    command = [os.path.join(BUILD, "bin/leadline"), "bench", "serve", "--url", server.url, "--concurrency", str(at), "--requests",
               str(max(at, 2)), "--prompt-tokens", str(options.prompt), "--max-tokens", str(options.generate), "--max-token-id",
               str(HIGHEST_ID), "--seed", str(seed), "--warmup", "0", "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"bench serve failed: {done.stderr[-2000:]}{done.stdout[-2000:]}")
    return json.loads(done.stdout)


def run_round(options, number):
    names = options.only or list(STARTERS)
    for name in names if number % 2 == 0 else reversed(names):
        for at in options.at:
            server = STARTERS[name](options, at)
            try:
                measure(options, server, 1, 10_000 + number)  # warm
                load = os.getloadavg()[0]
                report = measure(options, server, at, 100 * number + at)
            finally:
                server.stop()
            yield {"server": name, "at": at, "round": number, "load": load, "prompt": options.prompt,
                   "generate": options.generate, "label": options.label if name == "leadline" else "",
                   "tokens_per_s": report["completion_tokens_per_second"], "ttft_s": report["ttft_seconds"]["p50"],
                   "inter_token_s": report["inter_token_seconds"]["p50"], "failed": report["failed"]}


def print_report(runs):
    groups = {}
    for run in runs:
        groups.setdefault((run["at"], run["server"], run["label"]), []).append(run)
    medians = {key: {field: statistics.median(run[field] for run in group) for field in ("tokens_per_s", "ttft_s", "inter_token_s")}
               for key, group in groups.items()}
    for key in sorted(groups):
        at, server, label = key
        print(f"{at:3} at once, {server:9} {label:12} {len(groups[key])} rounds: {medians[key]['tokens_per_s']:7.2f} tokens/s, first token "
              f"{medians[key]['ttft_s']:6.2f} s, then {medians[key]['inter_token_s'] * 1e3:6.0f} ms; loads "
              f"{min(run['load'] for run in groups[key]):.1f} to {max(run['load'] for run in groups[key]):.1f}", end="")
        peer = medians.get((at, "llama.cpp", ""))
        if peer and server != "llama.cpp":
            print(f"; {medians[key]['tokens_per_s'] / peer['tokens_per_s']:.2f} x the tokens, "
                  f"{medians[key]['ttft_s'] / peer['ttft_s']:.2f} x the wait", end="")
        print()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", help="folder of llama-server")
    parser.add_argument("--gguf", help="its model")
    parser.add_argument("--checkpoint", help="ours")
    parser.add_argument("--weights", default="int8")
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="in all")
    parser.add_argument("--more", default="", help="more flags of leadline up")
    parser.add_argument("--label", default="", help="names our runs in the report")
    parser.add_argument("--only", nargs="+", choices=list(STARTERS))
    parser.add_argument("--at", nargs="+", type=int, default=[1, 8, 16])
    parser.add_argument("--prompt", type=int, default=256)
    parser.add_argument("--generate", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--first-round", type=int, default=0)
    parser.add_argument("--log", help="append runs to this file")
    parser.add_argument("--report", metavar="LOG", help="print the medians of a file and leave")
    options = parser.parse_args()
    if options.report:
        with open(options.report) as file:
            return print_report([json.loads(line) for line in file])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to end"))  # the server that runs is stopped on the way out
    runs = []
    for number in range(options.first_round, options.first_round + options.rounds):
        for run in run_round(options, number):
            runs.append(run)
            print(json.dumps(run), file=sys.stderr, flush=True)
            if options.log:
                with open(options.log, "a") as file:
                    file.write(json.dumps(run) + "\n")
    print_report(runs)


if __name__ == "__main__":
    main()
