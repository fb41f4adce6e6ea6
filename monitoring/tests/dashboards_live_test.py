"""Every query of every board returns data from a real Prometheus that scrapes `leadline up` under `bench serve`, with drafts, KV compression
and all KV tiers (Redis where redis-server is installed).

Slow test. The answers are drawn into one page (LEADLINE_BOARDS_PAGE names it; default build/boards.html of the build folder), because
Grafana itself can't be had here: look at it after changing a board.
"""
# labels: slow
import glob
import html
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.parse
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests/integration"))
sys.path.insert(0, os.path.join(ROOT, ".ci"))
from check_dashboards import fill, panels_of  # noqa: E402
from server_process import BUILD, ServerProcess  # noqa: E402

PAGE = os.environ.get("LEADLINE_BOARDS_PAGE", os.path.join(BUILD, "boards.html"))
COLOURS = ("#3b6fb6", "#c2571a", "#2f8f5b", "#8a4fa3", "#a08a1c", "#b23a48", "#4a9aa8", "#666666")
WIDTH, HEIGHT = 360, 130


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Prometheus:
    def __init__(self, targets, folder):
        config = {"global": {"scrape_interval": "1s"}, "rule_files": [os.path.join(ROOT, "monitoring/alerts.yaml")],
                  "scrape_configs": [{"job_name": "leadline", "static_configs": [{"targets": targets}]}]}
        path = os.path.join(folder, "prometheus.yaml")
        with open(path, "w") as file:
            json.dump(config, file)  # JSON is YAML
        self.url = f"http://127.0.0.1:{free_port()}"
        self.log = open(os.path.join(folder, "prometheus.log"), "w")
        self.process = subprocess.Popen(["prometheus", "--config.file", path, "--storage.tsdb.path", os.path.join(folder, "data"),
                                         "--web.listen-address", self.url[len("http://"):]], stdout=self.log, stderr=self.log)

    def get(self, path, **parameters):
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}", timeout=10) as answer:
            return json.load(answer)["data"]

    def until_scraped(self, count, timeout=30):
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            try:
                if sum(t["health"] == "up" for t in self.get("targets")["activeTargets"]) == count:
                    return
            except OSError:
                pass
            time.sleep(0.2)
        raise AssertionError(f"Prometheus did not scrape {count} targets")

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
        self.log.close()


def draw(panel, series):
    """One panel as SVG: a line for each series over a common scale from 0."""
    points = [(float(t), float(v)) for one in series for t, v in one["values"] if v not in ("NaN", "+Inf", "-Inf")]
    if not points:
        return "<svg></svg>"
    first, last, top = min(p[0] for p in points), max(p[0] for p in points), max(max(p[1] for p in points), 1e-9)
    lines = []
    for index, one in enumerate(series):
        path = " ".join(f"{40 + (float(t) - first) / max(1, last - first) * (WIDTH - 50):.1f},{HEIGHT - 15 - float(v) / top * (HEIGHT - 30):.1f}"
                        for t, v in one["values"] if v not in ("NaN", "+Inf", "-Inf"))
        lines.append(f'<polyline fill="none" stroke="{COLOURS[index % len(COLOURS)]}" stroke-width="1.5" points="{path}"/>')
    return (f'<svg width="{WIDTH}" height="{HEIGHT}"><text x="0" y="14">{top:.3g}</text><text x="0" y="{HEIGHT - 12}">0</text>'
            f'<line x1="40" x2="{WIDTH - 10}" y1="{HEIGHT - 15}" y2="{HEIGHT - 15}" stroke="#bbb"/>{"".join(lines)}</svg>')


def legend_of(template, labels):
    for name, value in labels.items():
        template = template.replace("{{" + name + "}}", value)
    return template


@unittest.skipIf(shutil.which("prometheus") is None, "prometheus is missing")
class LiveBoards(unittest.TestCase):
    maxDiff = None

    def redis(self, folder):
        """The URL of a Redis of this test; None without the program."""
        if shutil.which("redis-server") is None:
            print("no redis-server: the boards are drawn without that tier")
            return None
        port = free_port()
        process = subprocess.Popen(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.terminate)
        return f"redis://127.0.0.1:{port}"

    def flags(self, folder):
        """Pool, memory and disk so small that blocks move on to Redis and come back from each."""
        redis = self.redis(folder)
        self.tiers = ["memory", "disk"] + (["redis"] if redis else [])
        return ["--threads", "1", "--speculation", "static:4,4", "--max-model-len", "1024", "--kv-pool", "6MiB", "--kv-memory", "12MiB", "--kv-disk", folder + "/blocks",
                "--kv-disk-bytes", "16MiB",
                *(["--kv-redis", redis] if redis else [])]

    def load(self, server):
        """One burst as people make it, and one of each thing that moves a metric of its own."""
        bench = subprocess.run([os.path.join(BUILD, "bin/leadline"), "bench", "serve", "--url", server.url, "--requests", "24",
                                "--concurrency", "12", "--max-tokens", "48", "--json"], capture_output=True, text=True, check=False)
        self.assertEqual(bench.returncode, 0, bench.stderr)
        story = "a story of many words about people in towns " * 18
        for other in range(16):  # prompts that begin alike and come again, more of them than the pool holds
            for kv in ({}, {"kv": {"compression": "semanticache", "budget": 0.35}}):
                server.post("/v1/completions", {"model": server.model, "prompt": f"{other} {story}", "max_tokens": 8,
                                                "speculation": {"mode": "static"}, **kv})
        for worker in range(2):
            self.assertEqual(server.request("/policy/training", b"exported", base=server.worker_admin_url(worker))[0], 200)

    def check_moved(self, server):
        """What the boards show is not a row of zeros."""
        seen = {}
        for worker in range(2):
            for name, value in server.metrics(worker).items():
                seen[name] = seen.get(name, 0) + value
        seen["slots kept"] = sum(value for name, value in seen.items() if name.startswith("leadline_kv_compression_slots_total{")
                                 and 'kind="kept"' in name and 'method="semanticache"' in name)
        moved = ['leadline_speculation_accepted_total{position="1"}', "slots kept",
                 "leadline_kv_compression_seconds_count"] + [f'leadline_kv_tier_load_bytes_total{{tier="{tier}"}}' for tier in self.tiers]
        self.assertEqual([name for name in moved if not seen[name] > 0], [], {n: v for n, v in seen.items() if "tier" in n and v and "bucket" not in n})

    def test_every_query_returns_data(self):
        with tempfile.TemporaryDirectory() as folder, ServerProcess(ranks=2, workers=2, extra=self.flags(folder)) as server:
            targets = [server.admin_url[len("http://"):]] + [server.worker_admin_url(w)[len("http://"):] for w in range(2)]
            prometheus = Prometheus(targets, folder)
            try:
                prometheus.until_scraped(3)
                begin = time.time()
                for _ in range(3):
                    self.load(server)
                end = max(time.time(), begin + 5)
                time.sleep(max(0.0, end + 1.5 - time.time()))  # the last scrape
                empty = self.draw_boards(prometheus, begin, time.time())
                self.check_moved(server)
                firing = [a["labels"]["alertname"] for a in prometheus.get("alerts")["alerts"] if a["state"] == "firing"]
            finally:
                prometheus.stop()
        self.assertEqual(empty, [])
        self.assertEqual(firing, [])  # a healthy server under load

    def draw_boards(self, prometheus, begin, end):
        empty, page = [], ["<!doctype html><meta charset=utf-8><title>Boards of Leadline</title><style>body{font:13px sans-serif}"
                           "div{display:inline-block;width:370px;vertical-align:top;margin:4px}svg text{font-size:10px}</style>"]
        for path in sorted(glob.glob(os.path.join(ROOT, "monitoring/dashboards/*.json"))):
            with open(path) as file:
                board = json.load(file)
            page.append(f"<h2>{html.escape(board['title'])}</h2>")
            for panel in panels_of(board):
                series = []
                for target in panel["targets"]:
                    answer = prometheus.get("query_range", query=fill(target["expr"]), start=begin, end=end, step=1)["result"]
                    if not answer:
                        empty.append(f"{board['title']}, {panel['title']}: {target['expr']}")
                    series += [dict(one, legend=legend_of(target["legendFormat"], one["metric"])) for one in answer]
                names = " ".join(f'<span style="color:{COLOURS[i % len(COLOURS)]}">{html.escape(s["legend"])}</span>' for i, s in enumerate(series))
                page.append(f"<div><b>{html.escape(panel['title'])}</b> <i>{html.escape(panel['description'])}</i>"
                            f" [{panel['fieldConfig']['defaults']['unit']}]<br>{draw(panel, series)}<br><small>{names}</small></div>")
        os.makedirs(os.path.dirname(PAGE), exist_ok=True)
        with open(PAGE, "w") as file:
            file.write("\n".join(page))
        return empty


if __name__ == "__main__":
    unittest.main()
