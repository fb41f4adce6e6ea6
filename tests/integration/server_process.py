"""ServerProcess: `leadline up` on free ports of 127.0.0.1 for a test, ended with it. For Python tests; standard library only.

    with ServerProcess(ranks=2, workers=1, extra=["--max-seqs", "8"]) as server:
        answer = server.post("/v1/completions", {"model": server.model, "prompt": "Hi", "max_tokens": 4})

A test ends only processes that it started: the supervisor by its id, and its ranks by the ids that `children()` tells.
"""
import json
import os
import queue
import re
import signal
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("LEADLINE_BUILD_DIR", os.path.join(ROOT, "build/release"))
READY = re.compile(r"ready at (https?://\S+)")
METRICS = re.compile(r"metrics on (http://\S+)/metrics")


class ServerFailed(AssertionError):
    pass


class ServerProcess:
    ready_timeout_s = 120.0

    def __init__(self, ranks=1, workers=1, model=None, extra=(), program=None, env=None):
        self.ranks, self.workers = ranks, workers
        self.model_directory = model or os.path.join(ROOT, "models/reference")
        self.model = os.path.basename(os.path.normpath(self.model_directory))
        self.command = [program or os.path.join(BUILD, "bin/leadline"), "up", "--model", self.model_directory, "--ranks",
                        str(ranks), "--workers", str(workers), "--port", "0", "--admin-port", "0", *extra]
        # KV blocks of other tests and of people's own servers must not be found: a cache folder per server, unless
        # the test names one.
        self._cache = tempfile.TemporaryDirectory(prefix="leadline-test-cache-")
        self.env = {**os.environ, "LEADLINE_HOME": ROOT, "XDG_CACHE_HOME": self._cache.name, **(env or {})}
        self.url = self.admin_url = None
        self.process = None
        self._lines = queue.Queue()
        self._reader = None
        self._errors = tempfile.TemporaryFile()
        self._last_log = ""

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=self._errors, env=self.env, text=True)
        self._reader = threading.Thread(target=self._read_lines, daemon=True)
        self._reader.start()
        try:
            self._wait_ready()
        except BaseException:
            self.stop(grace_s=5)
            raise

    def _read_lines(self):
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _wait_ready(self):
        deadline = time.monotonic() + self.ready_timeout_s
        while self.url is None:
            try:
                line = self._lines.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                raise ServerFailed(f"not ready after {self.ready_timeout_s} s:\n{self.log()[-4000:]}") from None
            if line is None:
                raise ServerFailed(f"ended with {self.process.wait()} before it was ready:\n{self.log()[-4000:]}")
            match = READY.search(line)
            if match:
                self.url = match.group(1)
                self.admin_url = METRICS.search(line).group(1)

    def log(self):
        """What supervisor, coordinator and workers wrote to standard error so far."""
        if self._errors.closed:
            return self._last_log
        return os.pread(self._errors.fileno(), 64 << 20, 0).decode("utf-8", "replace")

    def stop(self, grace_s=70.0):
        """Drains (SIGINT) and returns the exit status; insists after grace_s."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(grace_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
        status = self.process.wait()
        self._reader.join(10)
        self.process.stdout.close()
        self._last_log = self.log()
        self._errors.close()
        self._cache.cleanup()
        return status

    def worker_admin_url(self, worker):
        host, port = self.admin_url.rsplit(":", 1)
        return f"{host}:{int(port) + 1 + worker}"

    def request(self, path, body=None, headers=None, base=None, timeout_s=120.0):
        """(status, headers, bytes) of a GET, or of a POST of `body` (an object, sent as JSON, or bytes)."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request((base or self.url) + path, data=data, headers=dict(headers or {}))
        if data is not None:
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:
                return answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers), error.read()

    def get(self, path, **options):
        status, _, body = self.request(path, **options)
        if status != 200:
            raise ServerFailed(f"GET {path}: {status} {body[:500]!r}")
        return json.loads(body)

    def post(self, path, body, **options):
        status, _, answer = self.request(path, body, **options)
        if status != 200:
            raise ServerFailed(f"POST {path}: {status} {answer[:500]!r}")
        return json.loads(answer)

    def stream(self, path, body, headers=None, timeout_s=120.0):
        """Yields the JSON objects of a streamed answer up to [DONE]."""
        data = json.dumps(dict(body, stream=True)).encode()
        request = urllib.request.Request(self.url + path, data=data, headers=dict(headers or {}))
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            for line in answer:
                if line.startswith(b"data:"):
                    event = line[5:].strip()
                    if event == b"[DONE]":
                        return
                    yield json.loads(event)

    def metrics(self, worker=None):
        """{"name{label=\"value\"}": number} of the coordinator, or of one worker."""
        base = self.admin_url if worker is None else self.worker_admin_url(worker)
        _, _, text = self.request("/metrics", base=base)
        series = {}
        for line in text.decode().splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                series[name] = float(value)
        return series

    def wait_until(self, condition, timeout_s=60.0, what="the condition"):
        """Polls `condition()` until it is true; connection errors count as not yet."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            try:
                if condition():
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise ServerFailed(f"{what} did not come true within {timeout_s} s:\n{self.log()[-4000:]}")

    def is_ready(self):
        return self.request("/readyz", base=self.admin_url)[0] == 200

    def children(self, name):
        """Process ids below the supervisor whose program is `name` ("leadline-worker"), oldest first."""
        found, todo = [], [self.process.pid]
        parents = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    with open(f"/proc/{entry}/stat") as file:
                        parents.setdefault(int(file.read().rpartition(")")[2].split()[1]), []).append(int(entry))
                except OSError:
                    continue
        while todo:
            for pid in sorted(parents.get(todo.pop(), [])):
                todo.append(pid)
                try:
                    with open(f"/proc/{pid}/cmdline", "rb") as file:
                        words = file.read().split(b"\0")
                except OSError:
                    continue
                if any(os.path.basename(word) == name.encode() for word in words[:2]):
                    found.append(pid)
        return sorted(found)
