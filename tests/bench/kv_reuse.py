#!/usr/bin/env python3
"""How long a second turn takes when its history comes back from a tier, beside computing it, on real processes.

    tests/bench/kv_reuse.py --model DIR --tier disk --lengths 512 1024 2048 --out reuse.jsonl
    tests/bench/kv_reuse.py --model DIR --tier slow --lengths 512 1024 --out reuse.jsonl
    tests/bench/kv_reuse.py --report reuse.jsonl [--svg docs/kv_reuse.svg]

For each history of H tokens: the history is asked once (it enters the tier), its pages are pushed off the device by another prompt, then
history and NEW more tokens are asked and timed to the first token. Beside it, in the same run: the same length computed cold (`recompute`), and
NEW tokens on a history that is on the device (`new`). The bar is 1.5 x (bytes / the tier's bandwidth + new); the bandwidth is measured here: a copy
of as many bytes in memory, reading one file of as many bytes that is not in the page cache, or as many bytes of values in pipelined GETs of 32. Block
files are taken out of the page cache, too. `redis` is a redis-server of this run's own; `slow` is the same behind a proxy that lets 2 MB/s of its
replies through: the chooser shall compute instead (it learns that from one history of 512 tokens before the first row).
With --threshold T every request is compressed by SemantiCache at T: the store then gives the chain's raw pages back, which are compressed again
(`compress_s`, `kept`: of the second turn).
DIR is a checkpoint of the 1 B shape (models/reference/inflate.py makes one).
"""
import argparse
import contextlib
import glob
import json
import os
import random
import socket
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../integration"))
from kv_store_test import RedisServer  # noqa: E402
from server_process import ServerProcess  # noqa: E402

NEW = 32
COMPRESSED_ROOM = 512  # tokens of pages besides a prompt's, for a segment's two forms
SLOW = 2e6  # bytes/s


class SlowProxy:
    """A port before another one that lets SLOW bytes a second of its replies through, over all connections."""

    def __init__(self, port):
        self.to, self.lock, self.free_at = port, threading.Lock(), 0.0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            here = self.listener.accept()[0]
            there = socket.create_connection(("127.0.0.1", self.to))
            for source, target, slow in ((here, there, False), (there, here, True)):
                threading.Thread(target=self.copy, args=(source, target, slow), daemon=True).start()

    def copy(self, source, target, slow):
        try:
            while data := source.recv(1 << 14):
                if slow:
                    with self.lock:
                        self.free_at = max(self.free_at, time.monotonic()) + len(data) / SLOW
                        wait = self.free_at - time.monotonic()
                    time.sleep(max(0.0, wait))
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def redis_bandwidth(port, size):
    value, pipelined = os.urandom(1 << 17), 32
    with socket.create_connection(("127.0.0.1", port)) as link, link.makefile("rb") as replies:
        link.sendall(b"*3\r\n$3\r\nSET\r\n$7\r\nscratch\r\n$%d\r\n" % len(value) + value + b"\r\n")
        replies.readline()
        started, left = time.perf_counter(), max(1, size >> 17)
        while left > 0:
            now = min(left, pipelined)
            link.sendall(b"*2\r\n$3\r\nGET\r\n$7\r\nscratch\r\n" * now)
            for _ in range(now):
                replies.read(int(replies.readline()[1:]) + 2)
            left -= now
        return max(1, size >> 17) * len(value) / (time.perf_counter() - started)


def kv_bytes_per_token(model):
    with open(os.path.join(model, "config.json")) as file:
        c = json.load(file)
    head = c.get("head_dim") or c["hidden_size"] // c["num_attention_heads"]
    return 2 * c["num_hidden_layers"] * c.get("num_key_value_heads", c["num_attention_heads"]) * head * 2


def forget_pages(path):
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def bandwidth(tier, size, directory, redis):
    if redis:
        return redis_bandwidth(redis.port, size)
    if tier == "memory":
        source, best = bytearray(os.urandom(1 << 20) * max(1, size >> 20)), 1e9
        for _ in range(3):
            started = time.perf_counter()
            bytes(source)
            best = min(best, time.perf_counter() - started)
        return len(source) / best
    path = os.path.join(directory, "scratch")
    with open(path, "wb") as file:
        for _ in range(max(1, size >> 20)):
            file.write(os.urandom(1 << 20))
    forget_pages(path)
    started = time.perf_counter()
    with open(path, "rb", buffering=0) as file:
        while file.read(1 << 20):
            pass
    seconds = time.perf_counter() - started
    os.unlink(path)
    return max(size, 1 << 20) / seconds


class Reuse:
    def __init__(self, server, args, directory, redis):
        self.server, self.args, self.directory, self.redis, self.chance = server, args, directory, redis, random.Random(args.seed)
        self.kind = "redis" if redis else args.tier  # as the server calls it

    def prompt(self, tokens):
        return [self.chance.randrange(300, 4000) for _ in range(tokens)]

    def ask(self, prompt, store, kv=None):
        """Seconds to the answer's first and only token, and where its prompt came from."""
        body = {"model": self.server.model, "prompt": prompt, "max_tokens": 1, "temperature": 0, "ignore_eos": True,
                "kv": {"store": store, **(self.args.kv if kv is None else kv)}}
        started = time.perf_counter()
        status, headers, answer = self.server.request("/v1/completions", body, timeout_s=600)
        seconds = time.perf_counter() - started
        if status != 200:
            raise RuntimeError(answer[:300])
        return seconds, self.server.get("/v1/kv/explain?request_id=" + headers["X-Request-Id"])["choices"][0]

    def sum_of(self, name, *labels):
        return sum(v for k, v in self.server.metrics(0).items() if k.split("{")[0] == name and all(f'"{label}"' in k for label in labels))

    def stored(self):
        return self.sum_of("leadline_kv_tier_stores_total", self.kind, "stored")

    def compressed(self):
        """Seconds in compressions, slots that went in, slots that stayed."""
        slots = "leadline_kv_compression_slots_total"
        return [self.sum_of("leadline_kv_compression_seconds_sum"), self.sum_of(slots, "seen"), self.sum_of(slots, "kept")]

    def measure(self, length):
        history = self.prompt(length)
        before = self.stored()
        self.ask(history, True)
        heads = self.args.heads
        self.server.wait_until(lambda: self.stored() - before >= (length - 1) // 16 * heads, 120, "the history in the tier")
        recompute, _ = self.ask(self.prompt(length + NEW), False)
        if self.args.kv:
            self.ask(self.prompt(max(self.args.lengths) + NEW + COMPRESSED_ROOM), False, {})  # this takes all pages
        elif length < max(self.args.lengths):
            self.ask(self.prompt(max(self.args.lengths) + NEW), False)  # this takes all pages; the longest did so already
        for path in glob.glob(os.path.join(self.directory, "v1/blocks/*/*.kvb")):
            forget_pages(path)
        work = self.compressed()
        second, story = self.ask(history + self.prompt(NEW), False)
        work = [after - before for after, before in zip(self.compressed(), work)]
        new, on_device = self.ask(history + self.prompt(NEW), False)
        tier = story["tiers"][self.kind]
        speed = SLOW if self.args.tier == "slow" else bandwidth(self.args.tier, tier["bytes"] or length * self.args.bytes, self.directory, self.redis)
        floor = tier["bytes"] / speed + new
        return {"tier": self.args.tier, "history": length, "ttft_s": second, "recompute_s": recompute, "new_s": new,
                "new_from_device": on_device["tiers"]["device"]["tokens"], "from_tier": tier["tokens"], "bytes": tier["bytes"],
                "read_ms": tier["read_ms"], "waited_ms": story["waited_ms"], "offered": story["offered_tokens"], "bandwidth": speed,
                "compress_s": work[0], "kept": work[2] / work[1] if work[1] else 1, "floor_s": floor, "of_floor": second / floor, "of_recompute": second / recompute}


def run(args):
    args.bytes = kv_bytes_per_token(args.model)
    with open(os.path.join(args.model, "config.json")) as file:
        args.heads = json.load(file).get("num_key_value_heads")
    longest = max(args.lengths)
    with tempfile.TemporaryDirectory(prefix="leadline-kv-reuse-", dir=args.scratch) as directory:
        redis = RedisServer() if args.tier in ("redis", "slow") else None
        port = redis and (SlowProxy(redis.port).port if args.tier == "slow" else redis.port)
        tiers = (["--kv-memory", "4GiB", "--kv-disk-bytes", "0"] if args.tier == "memory"
                 else ["--kv-memory", "0", "--kv-disk-bytes", "0", "--kv-redis", f"redis://127.0.0.1:{port}"] if redis
                 else ["--kv-memory", "0", "--kv-disk", directory, "--kv-disk-bytes", "8GiB"])
        room = COMPRESSED_ROOM if args.kv else 0
        extra = [*tiers, "--kv-pool", str((longest + 2 * NEW + room) * args.bytes), "--max-model-len", str(longest + NEW + room + 16), "--max-seqs", "1",
                 "--speculation", "off", "--weights", args.weights]
        with redis or contextlib.nullcontext(), ServerProcess(ranks=1, model=args.model, extra=extra) as server:
            reuse = Reuse(server, args, directory, redis)
            reuse.ask(reuse.prompt(256), False)  # the first prefill is slower
            if args.tier == "slow":
                reuse.measure(512)
            for length in args.lengths:
                row = reuse.measure(length)
                print(json.dumps(row), flush=True)
                if args.out:
                    with open(args.out, "a") as file:
                        file.write(json.dumps(row) + "\n")


def table(rows):
    print("| tier | history | from the tier | MB | first token, s | recompute, s | ratio | bytes / bandwidth + new, s | ratio (bar 1.5) |\n"
          "| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for r in sorted(rows, key=lambda r: (r["tier"], r["history"])):
        print(f"| {r['tier']} | {r['history']} | {r['from_tier']} | {r['bytes'] / 1e6:.0f} | {r['ttft_s']:.3f} | {r['recompute_s']:.3f} | "
              f"{r['of_recompute']:.3f} | " + (f"{r['floor_s']:.3f} | {r['of_floor']:.2f} |" if r["bytes"] else "computed | - |"))


def svg(rows, path):
    """First token over history, as a ratio to recomputing; one line per tier, the line of 1 marked."""
    import math
    width, height, left, bottom = 640, 320, 60, 270
    lengths = sorted({r["history"] for r in rows})
    low, high = math.log2(lengths[0]), math.log2(lengths[-1]) or 1
    most = max(1.2, max(r["of_recompute"] for r in rows) * 1.05)

    def x(length):
        return left + (math.log2(length) - low) / max(high - low, 1e-9) * (width - left - 30)

    def y(ratio):
        return bottom - ratio / most * (bottom - 30)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
           f'<rect width="{width}" height="{height}" fill="white"/>',
           f'<text x="{left}" y="18">Time to the first token of a second turn, as a share of recomputing it</text>',
           f'<line x1="{left}" y1="{bottom}" x2="{width - 20}" y2="{bottom}" stroke="black"/>',
           f'<line x1="{left}" y1="{bottom}" x2="{left}" y2="30" stroke="black"/>',
           f'<line x1="{left}" y1="{y(1):.1f}" x2="{width - 20}" y2="{y(1):.1f}" stroke="gray" stroke-dasharray="4"/>',
           f'<text x="{left + 6}" y="{y(1) - 4:.1f}" fill="gray">recomputing</text>']
    for length in lengths:
        out.append(f'<text x="{x(length):.1f}" y="{bottom + 18}" text-anchor="middle">{length}</text>')
    out.append(f'<text x="{(left + width) / 2}" y="{bottom + 36}" text-anchor="middle">tokens of history</text>')
    for tick in (0.25, 0.5, 0.75, 1):
        out.append(f'<text x="{left - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick}</text>')
    for n, (tier, colour) in enumerate((("memory", "#1f77b4"), ("disk", "#d62728"), ("redis", "#2ca02c"), ("slow", "#9467bd"))):
        points = sorted((r["history"], r["of_recompute"]) for r in rows if r["tier"] == tier)
        if not points:
            continue
        out.append(f'<polyline fill="none" stroke="{colour}" points="' + " ".join(f"{x(h):.1f},{y(v):.1f}" for h, v in points) + '"/>')
        out += [f'<circle cx="{x(h):.1f}" cy="{y(v):.1f}" r="3" fill="{colour}"/>' for h, v in points]
        out.append(f'<text x="{width - 120}" y="{50 + 16 * n}" fill="{colour}">{"Redis at 2 MB/s" if tier == "slow" else tier}</text>')
    with open(path, "w") as file:
        file.write("\n".join([*out, "</svg>"]) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model")
    parser.add_argument("--tier", choices=["memory", "disk", "redis", "slow"])
    parser.add_argument("--lengths", type=int, nargs="+", default=[512, 1024, 2048])
    parser.add_argument("--threshold", type=float)
    parser.add_argument("--weights", default="auto")
    parser.add_argument("--scratch", help="where the disk tier's directory is made")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out")
    parser.add_argument("--report", nargs="+")
    parser.add_argument("--svg")
    args = parser.parse_args()
    args.kv = {} if args.threshold is None else {"compression": "semanticache", "threshold": args.threshold}
    if args.report:
        rows = [json.loads(line) for path in args.report for line in open(path)]
        table(rows)
        if args.svg:
            svg(rows, args.svg)
    elif args.model and args.tier:
        run(args)
    else:
        parser.error("--model and --tier, or --report")


if __name__ == "__main__":
    main()
