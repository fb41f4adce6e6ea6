#!/usr/bin/env python3
"""From `leadline up` to the first token with packed weights on disk, beside the time to read their file.

The file is made by a first start and read once, so that it lies in the page cache. Reading it is timed in two ways: by one thread
through a buffer that stays in its cache, and into as much fresh memory as the file is long, which is what a process must have.

    tests/bench/start_time.py --model DIR [--weights int8] [--ranks 1] [--repeats 5]
"""
import argparse
import glob
import mmap
import os
import re
import statistics
import sys
import tempfile
import time
from datetime import datetime

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests/integration"))
from server_process import ServerProcess  # noqa: E402

WRITTEN_SECONDS = 120
CHUNK = 1 << 20


def read_through(path):
    buffer, begin = bytearray(CHUNK), time.monotonic()
    with open(path, "rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
    return time.monotonic() - begin


def read_into_memory(path):
    begin = time.monotonic()
    with open(path, "rb", buffering=0) as file, mmap.mmap(-1, os.path.getsize(path)) as memory:
        memory.madvise(mmap.MADV_HUGEPAGE)
        view, at = memoryview(memory), 0
        while got := file.readinto(view[at:at + CHUNK]):
            at += got
        took = time.monotonic() - begin
        view.release()
    return took


def stamp(log, words):
    """When the first log line with these words was written, in seconds."""
    line = next(line for line in log.splitlines() if words in line)
    return datetime.fromisoformat(line.split()[0].replace("Z", "+00:00")).timestamp()


def start_once(options, cache):
    """Seconds to the first token over HTTP, and the worker's own: in all, reading weights."""
    extra = ["--weights", options.weights, "--weight-cache", cache, "--max-model-len", "2048", "--kv-disk-bytes", "0"]
    begin, wall = time.monotonic(), time.time()
    server = ServerProcess(ranks=options.ranks, model=options.model, extra=extra)
    with server:
        ready = time.monotonic() - begin
        answer = server.post("/v1/completions", {"model": server.model, "prompt": "Tom lives in", "max_tokens": 1})
        first = time.monotonic() - begin
        assert answer["usage"]["completion_tokens"] == 1
        log = server.log()
        if "packed weights read" not in log:
            end = time.monotonic() + WRITTEN_SECONDS
            while "packed weights written" not in server.log() and time.monotonic() < end:
                time.sleep(0.1)
            return None
    reading = max(float(seconds) for seconds in re.findall(r"packed weights read: .* in ([0-9.]+) s", log))
    return {"first": first, "ready": ready, "reading": reading, "worker": stamp(log, "coordinator connected") - wall}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--weights", default="int8")
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cache", help="directory that keeps the file for another run; default: a temporary one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        cache = options.cache or temporary
        packing = time.monotonic()
        if start_once(options, cache) is None:
            print(f"start that packs, and writing: {time.monotonic() - packing:.2f} s")
        files = glob.glob(os.path.join(cache, "**", f"{options.weights}-*of{options.ranks}.packed"), recursive=True)
        if len(files) != options.ranks:
            sys.exit(f"{len(files)} packed files for {options.ranks} ranks")
        rows = []
        for _ in range(options.repeats):
            through, into = sum(map(read_through, files)), sum(map(read_into_memory, files))
            rows.append({**start_once(options, cache), "through": through, "into": into})
        m = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
        size = sum(map(os.path.getsize, files))
    print(f"{size / 1e9:.3f} GB in {len(files)} file(s), medians of {options.repeats}, load {os.getloadavg()[0]:.1f}")
    print(f"reading: {m['through']:.3f} s through a buffer, {m['into']:.3f} s into fresh memory")
    print(f"weights read and checked by the worker: {m['reading']:.3f} s; worker connected after {m['worker']:.3f} s, ready after {m['ready']:.3f} s")
    print(f"first token over HTTP after {m['first']:.3f} s: {m['first'] / m['into']:.2f} x reading into memory, "
          f"{m['first'] / m['through']:.2f} x through a buffer (bar: 1.5)")


if __name__ == "__main__":
    main()
