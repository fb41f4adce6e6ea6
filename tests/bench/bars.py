#!/usr/bin/env python3
"""Every kernel bar of issue 4 (the CPU engine at the 1.1 B shape), measured beside its bar: medians over repeats.

All runs one after the other take some ten minutes on two cores; --only and --keep cut that into slices, whose JSON a
later run with --keep of the same folder finds and prints with its own. Nothing here fails for being slow.

    tests/bench/bars.py [--keep DIR] [--only decode_bf16 ...] [--peer LLAMA_CPP/build/bin --models DIR]
"""
import argparse
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import peer_compare

COMMON = ["--shape", "1b", "--json"]
RUNS = {
    "decode_bf16": ["--weights", "bf16", "--prompt", "512", "--generate", "16", "--verify", "6"],
    "decode_int8": ["--weights", "int8", "--prompt", "512", "--generate", "16", "--verify", "6"],
    "decode_int4": ["--weights", "int4", "--prompt", "512", "--generate", "16", "--verify", "6"],
    "batch_1": ["--weights", "int8", "--prompt", "32", "--generate", "16"],
    "batch_8": ["--weights", "int8", "--prompt", "32", "--generate", "16", "--batch", "8"],
    "context_bf16": ["--weights", "int8", "--prompt", "16", "--context", "16384", "--generate", "8"],
    "context_int8": ["--weights", "int8", "--prompt", "16", "--context", "16384", "--generate", "8", "--kv-dtype", "int8"],
}
PEER_BARS = {"bf16": 4.0, "int8": 2.0, "int4": 2.0}  # bf16: on a host with AMX; 1.5 elsewhere


def run_of(name, options):
    """The JSON of one run: kept from before, or measured now."""
    kept = os.path.join(options.keep, name + ".json") if options.keep else None
    wanted = not options.only or name in options.only
    if kept and os.path.exists(kept) and not (wanted and options.only):
        with open(kept, encoding="utf-8") as file:
            return json.load(file)
    if not wanted:
        return None
    command = [os.path.join(peer_compare.BUILD, "bin/leadline"), "bench", "engine", *COMMON, *RUNS[name], "--threads",
               str(options.threads), "--repeats", str(options.repeats)]
    print("  " + " ".join(command[1:]), file=sys.stderr)
    text = peer_compare.output(command)
    if kept:
        os.makedirs(options.keep, exist_ok=True)
        with open(kept, "w", encoding="utf-8") as file:
            file.write(text)
    return json.loads(text)


def stage(run, phase, name):
    return next(s for s in run["stages"] if s["phase"] == phase and s["stage"] == name)


def matrix_share(run):
    """Multiply-adds of the prefill's products over its whole time, of the tiles' rate."""
    work = sum(s.get("operations", 0) for s in run["stages"] if s["phase"] == "prefill")
    tokens = run["asked"]["prompt"] * run["asked"]["batch"]
    return work / (tokens / run["prefill_tokens_per_s"]) / 1e9 / run["matrix_bf16_gflops"]


def rows_of(runs):
    """(what, measured, bar, at least or at most, the run it is of)"""
    for name, bar in (("bf16", 0.90), ("int8", 0.90), ("int4", 0.75)):
        run = runs["decode_" + name]
        if not run:
            continue
        yield f"decode {name}, batch 1: of read bandwidth", run["decode_bandwidth_share"], bar, ">=", run
        if name != "int4":
            yield f"6 rows against 1, {name}", run["verify_step_over_decode_step"], 1.35, "<=", run
        yield f"prefill 512 {name}, tokens/s", run["prefill_tokens_per_s"], None, "", run
        if name == "bf16" and run["matrix_bf16_gflops"] > 0:
            yield "prefill 512 bf16: of the matrix rate (products in two parts)", matrix_share(run), 0.6, ">=", run
    one, eight = runs["batch_1"], runs["batch_8"]
    if one and eight:
        yield "int8, batch 8 over batch 1: tokens/s", eight["decode_tokens_per_s"] / one["decode_tokens_per_s"], 4.0, ">=", eight
    for name, bar in (("bf16", 0.80), ("int8", None)):
        run = runs["context_" + name]
        if run:
            share = stage(run, "decode", "attention")["bandwidth_share"]
            yield f"attention at 16k, {name} pages: of read bandwidth", share, bar, ">=", run


def verdict(value, bar, sense):
    if bar is None:
        return ""
    return "met" if (value >= bar if sense == ">=" else value <= bar) else "missed"


def peer_rows(options):
    for fmt, bar in PEER_BARS.items():
        ratios = []
        for _ in range(options.rounds):
            theirs = peer_compare.peer_run(options, fmt)
            ours = peer_compare.engine_run(options, fmt)
            ratios.append(ours[0] / theirs[0])
        yield f"prefill {options.prompt} {fmt} over llama.cpp {peer_compare.PEERS[fmt]}", sorted(ratios)[len(ratios) // 2], bar, ">=", ours[2]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(RUNS), default=[], help="measure these; of others, what is kept")
    parser.add_argument("--keep", default="", help="folder for the runs' JSON")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peer", default="", help="folder of llama-bench; with --models: prefill beside it")
    parser.add_argument("--models", default="")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    options.prompt, options.generate, options.isa = 512, 16, ""
    runs = {name: run_of(name, options) for name in RUNS}
    rows = list(rows_of(runs)) + (list(peer_rows(options)) if options.peer else [])
    print(f"{'':58} {'measured':>9} {'bar':>8}         read GB/s, load")
    for what, value, bar, sense, run in rows:
        limit = f"{sense} {bar}" if bar is not None else ""
        print(f"{what:58} {value:9.2f} {limit:>8} {verdict(value, bar, sense):7} "
              f"{run['read_bandwidth_gb_s']:.1f}, {run['load_before'].split()[0]}")


if __name__ == "__main__":
    main()
