"""Several hosts: a coordinator (c), one worker whose two ranks are on two hosts (a, b), a second worker on b; right tokens throughout.

Slow test (./leadline test --full). Phases: plain network; the coordinator's link at 10 Mbit/s; the link between the ranks at 10 Mbit/s;
20 ms between coordinator and workers (toxiproxy); host a cut off for 20 s under load. Oracle: tests/golden/reference_answers.jsonl.
"""
# labels: slow
import concurrent.futures
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)
import network_namespaces  # noqa: E402

BIN = os.path.join(os.environ.get("LEADLINE_BUILD_DIR", os.path.join(ROOT, "build", "release")), "bin")
MODEL = os.path.join(ROOT, "models", "reference")
TOOLS = os.path.join(os.path.dirname(ROOT), "shared", "tools")
HTTP_PORT, ADMIN_PORT, WORKER_PORT, PROXY_API = 8100, 8101, 7100, 8474


class Supervised(threading.Thread):
    """Runs a command and starts it again, with a growing pause, whenever it ends: what `up`, systemd or Kubernetes would do."""

    def __init__(self, argv, log):
        super().__init__(daemon=True)
        self.argv, self.log, self.starts, self.stopping, self.process = argv, log, 0, False, None

    def run(self):
        pause = 0.5
        while not self.stopping:
            self.starts += 1
            with open(self.log, "a") as out:
                self.process = subprocess.Popen(self.argv, stdout=out, stderr=out, start_new_session=True, env=ENVIRONMENT)
                self.process.wait()
            time.sleep(0 if self.stopping else pause)
            pause = min(5.0, pause * 2)

    def stop(self):
        self.stopping = True
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
        self.join(10)


ENVIRONMENT = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")


def unavailable():
    reason = network_namespaces.unavailable()
    if reason:
        return reason
    if shutil.which("mpirun") is None:
        return "mpirun (package openmpi-bin) is missing"
    if not os.path.exists(os.path.join(BIN, "leadline-coordinator")):
        return f"no {BIN}/leadline-coordinator: build first"
    return None


@unittest.skipIf(unavailable(), f"several hosts: {unavailable()}")
class SeveralHosts(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.questions = [json.loads(line) for line in open(os.path.join(ROOT, "tests/golden/reference_answers.jsonl"))]
        cls.dir = tempfile.mkdtemp(prefix="leadline-hosts-")
        cls.hosts = network_namespaces.Hosts("c", "a", "b")
        cls.running = []
        cls.secret = os.path.join(cls.dir, "secret")
        with open(cls.secret, "w") as f:
            f.write(os.urandom(24).hex() + "\n")
        os.chmod(cls.secret, 0o600)
        agent = os.path.join(cls.dir, "rsh-agent")
        cls.hosts.write_rsh_agent(agent)
        a, b = cls.hosts.address("a"), cls.hosts.address("b")
        mpi = ["mpirun", "--bind-to", "none", "--oversubscribe", "-x", "LEADLINE_GROUP_INTERFACE=eth0", "--mca", "plm", "rsh",
               "--mca", "plm_rsh_agent", agent, "--mca", "btl", "tcp,self", "--mca", "btl_tcp_if_include", "eth0",
               "--mca", "oob_tcp_if_include", "eth0"]
        worker = [os.path.join(BIN, "leadline-worker"), "--model", MODEL, "--weights", "f32", "--kv-dtype", "f32",
                  "--control-secret-file", cls.secret, "--threads", "1", "--stall-limit-ms", "60000"]
        cls.start("worker0", cls.hosts.command("a", [*mpi, "-n", "2", "--host", f"{a}:1,{b}:1", *worker, "--listen",
                                                     f"{a}:{WORKER_PORT}", "--worker-index", "0"]))
        cls.start("worker1", cls.hosts.command("b", [*worker, "--listen", f"{b}:{WORKER_PORT}", "--worker-index", "1"]))
        cls.coordinator = cls.start_coordinator([f"{a}:{WORKER_PORT}", f"{b}:{WORKER_PORT}"])
        cls.wait_ready_workers(2, 120)

    @classmethod
    def start(cls, name, argv):
        process = Supervised(argv, os.path.join(cls.dir, name + ".log"))
        process.start()
        cls.running.append(process)
        return process

    @classmethod
    def start_coordinator(cls, workers):
        argv = [os.path.join(BIN, "leadline-coordinator"), "--model", MODEL, "--host", "127.0.0.1", "--port", str(HTTP_PORT),
                "--admin-port", str(ADMIN_PORT), "--control-secret-file", cls.secret]
        for worker in workers:
            argv += ["--worker", worker]
        return cls.start("coordinator", cls.hosts.command("c", argv))

    @classmethod
    def tearDownClass(cls):
        for process in reversed(cls.running):
            process.stop()
        cls.hosts.close()
        shutil.rmtree(cls.dir, ignore_errors=True)

    # The client lives on host c: a small program there, one per call, keeps this process out of the namespace.
    @classmethod
    def fetch(cls, port, method, path, body=None, timeout=120):
        script = ("import http.client,sys,json;c=http.client.HTTPConnection('127.0.0.1',%d,timeout=%d);b=sys.stdin.read() or None;"
                  "c.request(%r,%r,b,{'Content-Type':'application/json'});r=c.getresponse();"
                  "sys.stdout.write(json.dumps([r.status,r.read().decode()]))" % (port, timeout, method, path))
        done = subprocess.run(cls.hosts.command("c", [sys.executable, "-c", script]), input=body or "", capture_output=True,
                              text=True, timeout=timeout + 30)
        if done.returncode != 0:
            return 0, done.stderr[-300:]
        return tuple(json.loads(done.stdout))

    @classmethod
    def ready_workers(cls):
        """Workers that the coordinator would use now, from its own metrics."""
        status, text = cls.fetch(ADMIN_PORT, "GET", "/metrics", timeout=10)
        if status != 200:
            return 0
        return sum(int(float(line.rsplit(" ", 1)[1])) for line in text.splitlines()
                   if line.startswith("leadline_worker_link_state{") and 'state="ready"' in line)

    @classmethod
    def wait_ready_workers(cls, count, seconds):
        end = time.monotonic() + seconds
        while cls.ready_workers() != count:
            if time.monotonic() > end:
                logs = "".join(f"--- {p.log}\n" + open(p.log).read()[-3000:] for p in cls.running if os.path.exists(p.log))
                raise AssertionError(f"not {count} ready workers after {seconds} s\n{logs}")
            time.sleep(0.5)

    def ask(self, question):
        """One greedy chat: None when the answer is the oracle's, else what was wrong."""
        body = json.dumps({"model": "reference", "messages": question["messages"], "temperature": 0,
                           "max_tokens": 40})
        status, text = self.fetch(HTTP_PORT, "POST", "/v1/chat/completions", body)
        if status != 200:
            return f"status {status}: {text[:200]}"
        answer = json.loads(text)["choices"][0]["message"]["content"]
        return None if answer == question["answer"] else f"{answer!r} instead of {question['answer']!r}"

    def ask_all(self, questions, at_once=4):
        with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
            wrong = [w for w in pool.map(self.ask, questions) if w is not None]
        self.assertEqual(wrong, [])

    def test_1_plain_network(self):
        self.ask_all(self.questions[:100])

    def test_2_coordinator_link_at_10_mbit(self):
        self.hosts.limit("c", "10mbit")
        try:
            self.ask_all(self.questions[100:200])
        finally:
            self.hosts.limit("c", None)

    def test_3_link_between_ranks_at_10_mbit(self):
        self.hosts.limit("a", "10mbit")
        try:
            self.ask_all(self.questions[:10], at_once=2)
        finally:
            self.hosts.limit("a", None)

    def test_4_twenty_milliseconds_to_the_workers(self):
        unpack = os.path.join(TOOLS, "unpack")
        if not os.path.exists(unpack):
            self.skipTest("../shared/tools (toxiproxy) is missing")
        tools = subprocess.run([unpack], capture_output=True, text=True, check=True).stdout.strip()
        self.start("toxiproxy", self.hosts.command("c", [os.path.join(tools, "toxiproxy"), "-host", "127.0.0.1",
                                                         "-port", str(PROXY_API)]))
        time.sleep(1)
        proxies = []
        for i, host in enumerate(("a", "b")):
            listen = f"127.0.0.1:{7200 + i}"
            self.toxi("POST", "/proxies", {"name": host, "listen": listen,
                                           "upstream": f"{self.hosts.address(host)}:{WORKER_PORT}", "enabled": True})
            for stream in ("upstream", "downstream"):
                self.toxi("POST", f"/proxies/{host}/toxics", {"type": "latency", "stream": stream, "attributes": {"latency": 20}})
            proxies.append(listen)
        type(self).coordinator.stop()
        type(self).coordinator = self.start_coordinator(proxies)
        self.wait_ready_workers(2, 60)
        self.ask_all(self.questions[:40])
        type(self).coordinator.stop()
        type(self).coordinator = self.start_coordinator([f"{self.hosts.address(h)}:{WORKER_PORT}" for h in ("a", "b")])
        self.wait_ready_workers(2, 60)

    def toxi(self, method, path, body):
        status, text = self.fetch(PROXY_API, method, path, json.dumps(body))
        self.assertIn(status, (200, 201), text)

    def test_5_a_host_cut_off_for_20_seconds(self):
        wrong, asked, over = [], [0], threading.Event()

        def keep_asking(offset):
            i = offset
            while not over.is_set():
                w = self.ask(self.questions[i % len(self.questions)])
                asked[0] += 1
                if w is not None:
                    wrong.append(w)
                i += 4

        askers = [threading.Thread(target=keep_asking, args=(k,)) for k in range(4)]
        for asker in askers:
            asker.start()
        time.sleep(3)
        self.hosts.cut("a")
        cut_at = time.monotonic()
        seen_down = None
        while time.monotonic() < cut_at + 20:
            if seen_down is None and self.ready_workers() == 1:
                seen_down = time.monotonic() - cut_at
            time.sleep(0.5)
        self.hosts.join("a")
        joined = time.monotonic()
        self.wait_ready_workers(2, 120)
        whole_again = time.monotonic() - joined
        time.sleep(3)
        over.set()
        for asker in askers:
            asker.join()
        print(f"cut of host a: seen after {seen_down} s, whole again {whole_again:.1f} s after the link came back, "
              f"{asked[0]} questions meanwhile, {len(wrong)} not answered right", file=sys.stderr)
        self.assertIsNotNone(seen_down, "the coordinator never saw that worker 0 was gone")
        self.assertEqual(wrong, [])
        self.ask_all(self.questions[:20])


if __name__ == "__main__":
    unittest.main(verbosity=2)
