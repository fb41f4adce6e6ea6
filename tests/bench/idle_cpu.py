#!/usr/bin/env python3
"""What an idle server costs: CPU time and wake-ups of each process of `leadline up` over a while without requests.

From /proc (schedstat's nanoseconds on a CPU, voluntary switches of all threads), so other programs on the machine do not count.
One request runs before the clock starts: what it woke must have gone back to sleep.

    tests/bench/idle_cpu.py [--seconds 60] [--ranks 1 2] [--model DIR] [--more "--weights int8"]
"""
import argparse
import os
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests/integration"))
from server_process import ServerProcess  # noqa: E402

SETTLE_SECONDS = 3  # KV blocks of the request are written, connections close


def descendants(pid):
    found = [pid]
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            for child in file.read().split():
                found += descendants(int(child))
    except FileNotFoundError:
        pass
    return found


def name_of(pid):
    with open(f"/proc/{pid}/cmdline") as file:
        words = file.read().split("\0")
    return os.path.basename(words[0]) + (" " + words[1] if words[0].endswith("/leadline") else "")


def spent(pid):
    """(seconds on a CPU, voluntary switches) of all threads that live."""
    seconds = switches = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat") as file:
            seconds += int(file.read().split()[0]) * 1e-9
        with open(f"/proc/{pid}/task/{task}/status") as file:
            switches += next(int(line.split()[1]) for line in file if line.startswith("voluntary_ctxt_switches"))
    return seconds, switches


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--model")
    parser.add_argument("--more", default="", help="more flags of leadline up")
    options = parser.parse_args()
    worst = 0.0
    for ranks in options.ranks:
        with ServerProcess(ranks=ranks, model=options.model, extra=options.more.split()) as server:
            server.post("/v1/completions", {"model": server.model, "prompt": "Tom lives in", "max_tokens": 8})
            time.sleep(SETTLE_SECONDS)
            pids = descendants(server.process.pid)
            before, begin = {pid: spent(pid) for pid in pids}, time.monotonic()
            time.sleep(options.seconds)
            after, wall = {pid: spent(pid) for pid in pids}, time.monotonic() - begin
            for pid in pids:
                share = (after[pid][0] - before[pid][0]) / wall
                switches = (after[pid][1] - before[pid][1]) / wall
                print(f"{ranks} rank{'s' if ranks > 1 else ' '}  {name_of(pid):22} {100 * share:7.3f} % of a core, {switches:6.1f} wake-ups/s")
                if name_of(pid).startswith("leadline-worker"):
                    worst = max(worst, share)
    print(f"the busiest worker process: {100 * worst:.3f} % of a core (bar: 1 %)")


if __name__ == "__main__":
    main()
