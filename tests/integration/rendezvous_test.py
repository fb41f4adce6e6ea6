"""Ranks that find each other without MPI: by --rank/--world/--rendezvous, and by what LeaderWorkerSet sets, on two hosts.

A host is a network namespace with a /dev/shm of its own, so that the ranks share no memory and `auto` ends at TCP, as between pods.
The oracle is tests/golden/reference_answers.jsonl; a killed rank must be named in rank 0's log.
"""
import json
import os
import signal
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)
import network_namespaces  # noqa: E402

BIN = os.path.join(os.environ.get("LEADLINE_BUILD_DIR", os.path.join(ROOT, "build", "release")), "bin")
MODEL = os.path.join(ROOT, "models", "reference")
RANKS = os.path.join(ROOT, "deploy", "docker", "leadline-ranks")
HTTP_PORT, WORKER_PORT, MEETING_PORT = 8100, 7100, 7101


def unavailable():
    reason = network_namespaces.unavailable()
    if reason:
        return reason
    if not os.path.exists(os.path.join(BIN, "leadline-worker")):
        return f"no {BIN}/leadline-worker: build first"
    return None


@unittest.skipIf(unavailable(), f"rendezvous on two hosts: {unavailable()}")
class Rendezvous(unittest.TestCase):
    def setUp(self):
        with open(os.path.join(ROOT, "tests/golden/reference_answers.jsonl")) as file:
            self.questions = [json.loads(line) for line, _ in zip(file, range(8))]
        self.dir = tempfile.mkdtemp(prefix="leadline-rendezvous-")
        self.addCleanup(shutil.rmtree, self.dir, True)
        self.hosts = network_namespaces.Hosts("a", "b")
        self.addCleanup(self.hosts.close)
        self.secret = os.path.join(self.dir, "secret")
        with open(self.secret, "w") as file:
            file.write(os.urandom(24).hex() + "\n")
        os.chmod(self.secret, 0o600)
        self.worker = ["--model", MODEL, "--weights", "f32", "--kv-dtype", "f32", "--threads", "1", "--listen", f"127.0.0.1:{WORKER_PORT}",
                       "--control-secret-file", self.secret, "--stall-limit-ms", "20000"]

    def start(self, host, name, argv, env=None):
        """Runs argv on `host`, with a /dev/shm that only it sees."""
        own_memory = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /dev/shm && exec "$@"', "sh", *argv]
        log = open(os.path.join(self.dir, name + ".log"), "w")
        process = subprocess.Popen(self.hosts.command(host, own_memory), stdout=log, stderr=log, env=dict(os.environ, **(env or {})),
                                   start_new_session=True)
        log.close()
        self.addCleanup(self.stop, process)
        return process

    def stop(self, process):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(5)

    def log(self, name):
        with open(os.path.join(self.dir, name + ".log"), errors="replace") as file:
            return file.read()

    def until(self, condition, seconds, what):
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                logs = "".join(f"--- {name}\n{self.log(name[:-4])[-3000:]}" for name in sorted(os.listdir(self.dir)) if name.endswith(".log"))
                self.fail(f"{what} not within {seconds} s\n{logs}")
            time.sleep(0.1)

    def fetch(self, method, path, body=None):
        script = ("import http.client,sys,json;c=http.client.HTTPConnection('127.0.0.1',%d,timeout=60);b=sys.stdin.read() or None;"
                  "c.request(%r,%r,b,{'Content-Type':'application/json'});r=c.getresponse();"
                  "sys.stdout.write(json.dumps([r.status,r.read().decode()]))" % (HTTP_PORT, method, path))
        done = subprocess.run(self.hosts.command("a", [sys.executable, "-c", script]), input=body or "", capture_output=True, text=True,
                              timeout=90)
        return tuple(json.loads(done.stdout)) if done.returncode == 0 else (0, done.stderr[-300:])

    def expect_right_answers(self):
        self.start("a", "coordinator", [os.path.join(BIN, "leadline-coordinator"), "--model", MODEL, "--host", "127.0.0.1", "--port",
                                        str(HTTP_PORT), "--control-secret-file", self.secret, "--worker", f"127.0.0.1:{WORKER_PORT}"])
        self.until(lambda: "worker listening" in self.log("rank0"), 60, "rank 0 listening")
        self.until(lambda: self.fetch("GET", "/readyz")[0] == 200 or self.fetch("GET", "/v1/models")[0] == 200, 60, "coordinator ready")
        for question in self.questions:
            body = json.dumps({"model": "reference", "messages": question["messages"], "temperature": 0, "max_tokens": 40})
            status, text = self.fetch("POST", "/v1/chat/completions", body)
            self.assertEqual(status, 200, text)
            self.assertEqual(json.loads(text)["choices"][0]["message"]["content"], question["answer"])
        self.assertIn("backend=tcp", self.log("rank0"), self.log("rank0"))

    def expect_the_lost_rank_named(self, victim, leader):
        killed = time.monotonic()
        os.killpg(victim.pid, signal.SIGKILL)
        self.until(lambda: "rank 1 is gone" in self.log("rank0"), 10, "rank 1 named in rank 0's log")
        self.assertLess(time.monotonic() - killed, 5)
        leader.wait(20)
        self.assertNotEqual(leader.returncode, 0)

    def test_flags(self):
        token = {"LEADLINE_GROUP_TOKEN": "of-this-group"}
        meeting = f"{self.hosts.address('a')}:{MEETING_PORT}"
        ranks = [self.start(host, f"rank{rank}", [os.path.join(BIN, "leadline-worker"), *self.worker, "--rank", str(rank), "--world", "2",
                                                  "--rendezvous", meeting], token)
                 for rank, host in enumerate(("a", "b"))]
        self.expect_right_answers()
        self.expect_the_lost_rank_named(ranks[1], ranks[0])

    def test_leader_worker_set(self):
        pods = []
        for index, host in enumerate(("a", "b")):
            env = {"LWS_GROUP_SIZE": "2", "LWS_WORKER_INDEX": str(index), "LWS_LEADER_ADDRESS": self.hosts.address("a"),
                   "LEADLINE_RANKS_PER_NODE": "1", "LEADLINE_RENDEZVOUS_PORT": str(MEETING_PORT),
                   "LEADLINE_GROUP_TOKEN": "of-this-group", "LEADLINE_WORKER_PROGRAM": os.path.join(BIN, "leadline-worker")}
            pods.append(self.start(host, f"rank{index}", [RANKS, *self.worker], env))
        self.expect_right_answers()
        self.expect_the_lost_rank_named(pods[1], pods[0])

    def test_a_rank_that_does_not_come_is_named(self):
        process = self.start("a", "rank0", [os.path.join(BIN, "leadline-worker"), *self.worker, "--rank", "0", "--world", "3",
                                            "--rendezvous", f"{self.hosts.address('a')}:{MEETING_PORT}", "--connect-limit-ms", "1500"],
                             {"LEADLINE_GROUP_TOKEN": "of-this-group"})
        self.assertNotEqual(process.wait(30), 0)
        self.assertIn("ranks that did not come: 1 2", self.log("rank0"))


if __name__ == "__main__":
    unittest.main()
