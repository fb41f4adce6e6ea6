#!/usr/bin/env python3
"""`leadline doctor` on this machine: against a running server and a Redis, and against everything broken."""
# labels: slow
import json
import os
import shutil
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from server_process import BUILD, ROOT, ServerProcess

CHECKS = ["cpu", "memory.size", "memory.bandwidth", "memory.huge_pages", "shm", "open_files", "disk", "mpi", "gpu", "clock"]
MODEL_CHECKS = ["model.config", "model.weights", "model.tokenizer", "model.chat_template", "policy"]
PASSWORD = "a-redis-password"


class FakeRedis(socketserver.ThreadingTCPServer):
    """Says +OK to AUTH with the right password, +PONG to PING after it."""
    daemon_threads = True
    allow_reuse_address = True

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            known = False
            while header := self.rfile.readline():
                words = []
                for _ in range(int(header[1:])):
                    size = int(self.rfile.readline()[1:])
                    words.append(self.rfile.read(size + 2)[:-2])
                if words[0] == b"AUTH":
                    known = words[1] == PASSWORD.encode()
                    self.wfile.write(b"+OK\r\n" if known else b"-WRONGPASS invalid password\r\n")
                else:
                    self.wfile.write(b"+PONG\r\n" if known else b"-NOAUTH Authentication required.\r\n")

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


def doctor(*arguments):
    result = subprocess.run([os.path.join(BUILD, "bin/leadline"), "doctor", *arguments], capture_output=True, text=True, timeout=120)
    return result.returncode, result.stdout, result.stderr


def findings_of(text):
    document = json.loads(text)
    return document, {finding["check"]: finding for finding in document["findings"]}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class DoctorTest(unittest.TestCase):
    def test_running_server_and_redis(self):
        with ServerProcess(ranks=1, workers=1, extra=["--threads", "1"]) as server, \
                FakeRedis(("127.0.0.1", 0), FakeRedis.Handler) as redis:
            address = f"redis://:{PASSWORD}@127.0.0.1:{redis.server_address[1]}"
            status, text, errors = doctor("--json", "--url", server.url, "--admin-url", server.admin_url, "--redis", address,
                                          "--model-dir", server.model_directory, "--worker", server.worker_admin_url(0))
        document, findings = findings_of(text)
        self.assertEqual([f["check"] for f in document["findings"]], [*CHECKS, "redis", *MODEL_CHECKS, "server", "workers"])
        self.assertEqual(document["schema"], 1)
        self.assertEqual(status, 0 if document["healthy"] else 1)
        for check in ["disk", "mpi", "redis", "server", "workers", *MODEL_CHECKS[:4]]:
            self.assertIn(findings[check]["status"], ("ok", "advice"), findings[check])
        self.assertIn("two ranks met", findings["mpi"]["what"])
        self.assertRegex(findings["server"]["what"], r"version \S+, 1 of 1 workers ready, first token after \d+ ms")
        self.assertRegex(findings["workers"]["what"], r"1 of 1 workers ready, version \S+, policy off")
        self.assertEqual(findings["policy"]["status"], "skipped")
        self.assertNotIn(PASSWORD, text + errors)

    def test_everything_broken(self):
        with tempfile.TemporaryDirectory() as folder, FakeRedis(("127.0.0.1", 0), FakeRedis.Handler) as redis:
            model = os.path.join(folder, "model")
            shutil.copytree(os.path.join(ROOT, "models/reference"), model, ignore=shutil.ignore_patterns("train"))
            weights = os.path.join(model, "model.safetensors")
            os.truncate(weights, os.path.getsize(weights) // 2)
            with open(os.path.join(model, "tokenizer.json"), "w") as file:
                file.write("{")
            with open(os.path.join(model, "exit_policy.llp"), "w") as file:
                file.write("no policy")
            before = sorted(os.listdir(folder))
            status, text, errors = doctor("--json", "--url", f"http://127.0.0.1:{free_port()}", "--model-dir", model, "--redis",
                                          f"redis://:wrong-{PASSWORD}@127.0.0.1:{redis.server_address[1]}", "--cache-dir",
                                          os.path.join(folder, "nothing"), "--worker", f"127.0.0.1:{free_port()}")
            self.assertEqual(sorted(os.listdir(folder)), before)
        document, findings = findings_of(text)
        self.assertEqual(status, 1)
        self.assertFalse(document["healthy"])
        for check in ["disk", "redis", "model.weights", "model.tokenizer", "policy", "server", "workers"]:
            self.assertEqual(findings[check]["status"], "problem", findings[check])
            self.assertTrue(findings[check]["cost"] and findings[check]["action"], check)
        self.assertIn("WRONGPASS", findings["redis"]["what"])
        self.assertNotIn(PASSWORD, text + errors)

    def test_text_and_a_cache_folder_left_clean(self):
        with tempfile.TemporaryDirectory() as folder:
            status, text, _ = doctor("--cache-dir", folder, "--port", str(free_port()))
            self.assertEqual(os.listdir(folder), [])
        self.assertIn(status, (0, 1))
        for check in CHECKS:
            self.assertIn(f" {check} ", text)
        self.assertRegex(text, r"\d+ problem\(s\), \d+ piece\(s\) of advice\n$")


if __name__ == "__main__":
    unittest.main(verbosity=2)
