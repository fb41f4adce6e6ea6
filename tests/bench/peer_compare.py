#!/usr/bin/env python3
"""The engine beside llama.cpp in one session: prefill and decode at the 1.1 B shape, runs of both taking turns, medians.

Needs a build of llama.cpp (llama-bench) and its models of that shape: peer_model.py makes the F16 file, llama-quantize makes
Q8_0 and Q4_0 of it. The engine takes random weights of the same shape. Nothing here fails for being slow.

    tests/bench/peer_compare.py --peer LLAMA_CPP/build/bin --models DIR [--formats bf16 int8 int4] [--prompt 512] [--rounds 5]
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("LEADLINE_BUILD_DIR", os.path.join(ROOT, "build/release"))
PEERS = {"bf16": "f16", "int8": "Q8_0", "int4": "Q4_0"}


def output(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{command[0]} failed ({done.returncode}): {done.stderr[-2000:]}")
    return done.stdout


def peer_run(options, fmt):
    """(prefill, decode) tokens/s and what ran."""
    model = os.path.join(options.models, f"1b-{PEERS[fmt]}.gguf")
    rows = json.loads(output([os.path.join(options.peer, "llama-bench"), "-m", model, "-t", str(options.threads), "-p",
                              str(options.prompt), "-n", str(options.generate), "-r", "1", "-o", "json"]))
    rate = {row["n_prompt"] > 0: row["avg_ts"] for row in rows}
    return rate[True], rate[False], f"llama.cpp {rows[0]['build_commit']}, {rows[0]['cpu_info']}"


def engine_run(options, fmt):
    command = [os.path.join(BUILD, "bin/leadline"), "bench", "engine", "--shape", "1b", "--weights", fmt, "--prompt",
               str(options.prompt), "--generate", str(options.generate), "--threads", str(options.threads), "--repeats",
               "1", "--json"]
    run = json.loads(output(command + (["--isa", options.isa] if options.isa else [])))
    return run["prefill_tokens_per_s"], run["decode_tokens_per_s"], run


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", required=True, help="folder of llama-bench")
    parser.add_argument("--models", required=True, help="folder of 1b-f16.gguf, 1b-Q8_0.gguf, 1b-Q4_0.gguf")
    parser.add_argument("--formats", nargs="+", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--isa", default="")
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--generate", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(f"prompt {options.prompt}, {options.generate} tokens, {options.threads} threads, medians of {options.rounds}, taking turns")
    for fmt in options.formats:
        ours, theirs = [], []
        for _ in range(options.rounds):
            theirs.append(peer_run(options, fmt))
            ours.append(engine_run(options, fmt))
        if fmt == options.formats[0]:
            print(theirs[0][2])
        last = ours[-1][2]
        print(f"{fmt} beside {PEERS[fmt]}: {last['backend']}, load {last['load_before']}")
        for i, what in enumerate(("prefill", "decode")):
            a, b = statistics.median(run[i] for run in ours), statistics.median(run[i] for run in theirs)
            pairs = sorted(x[i] / y[i] for x, y in zip(ours, theirs))
            print(f"  {what}: {a:.1f} beside {b:.1f} tokens/s: {a / b:.2f} x (rounds {pairs[0]:.2f} to {pairs[-1]:.2f})")
        shares = statistics.median(run[2]["decode_bandwidth_share"] for run in ours)
        reads = statistics.median(run[2]["read_bandwidth_gb_s"] for run in ours)
        print(f"  decode at {shares:.2f} of {reads:.1f} GB/s")


if __name__ == "__main__":
    main()
