#!/usr/bin/env python3
"""`leadline up` with stand-ins for coordinator and worker: start, progress, restart, drain, insistence, no orphans.

The stand-ins are scripts that print the lines and answer the admin paths that the real programs do.
"""
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from server_process import BUILD, ROOT, ServerFailed, ServerProcess  # noqa: E402

STAND_IN = r'''#!/usr/bin/python3
import http.server, json, os, signal, sys, time
worker = sys.argv[0].endswith("worker")
flags = dict(zip(sys.argv[1::2], sys.argv[2::2]))
begin, load_s = time.time(), 0.6
secret = os.stat(flags["--control-secret-file"])
assert secret.st_mode & 0o777 == 0o600 and os.stat(os.path.dirname(flags["--control-secret-file"])).st_mode & 0o777 == 0o700
if os.environ.get("STAND_IN_FAILS") == os.path.basename(sys.argv[0]):
    sys.exit("stand-in: refused")
def drain(*_):
    time.sleep(float(os.environ.get("STAND_IN_DRAIN_S", "0.2")))
    os._exit(0)
signal.signal(signal.SIGTERM, drain)
class Admin(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        share = min(1.0, (time.time() - begin) / load_s)
        body = json.dumps({"phase": "ready" if share == 1 else "loading", "loaded_bytes": int(share * 5e7), "total_bytes": 50000000,
                           "restarts": os.environ.get("LEADLINE_RESTARTS"), "pid": os.getpid()}).encode()
        self.send_response(503 if self.path == "/readyz" and share < 1 else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
if int(os.environ.get("OMPI_COMM_WORLD_RANK", "0")) > 0:
    while True:
        time.sleep(1)
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(flags["--admin-port"])), Admin)
print("worker listening on " + flags["--listen"] if worker else
      "listening on http://%s:%s" % (flags["--host"], flags["--port"]), flush=True)
server.serve_forever()
'''


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class SupervisorTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="leadline-supervisor-")
        self.addCleanup(shutil.rmtree, self.folder)
        for name in ("leadline-coordinator", "leadline-worker"):
            path = os.path.join(self.folder, name)
            with open(path, "w") as file:
                file.write(STAND_IN)
            os.chmod(path, stat.S_IRWXU)
        self.program = shutil.copy(os.path.join(BUILD, "bin/leadline"), self.folder)

    def server(self, **options):
        server = ServerProcess(program=self.program, model=self.folder, **options)
        server.ready_timeout_s = 30
        self.addCleanup(server.stop, 20)
        return server

    def all_children(self, server):
        return server.children("leadline-worker") + server.children("leadline-coordinator")

    def wait_gone(self, pids):
        deadline = time.monotonic() + 10
        while any(is_alive(pid) for pid in pids) and time.monotonic() < deadline:
            time.sleep(0.02)
        self.assertEqual([pid for pid in pids if is_alive(pid)], [])

    def test_ready_line_progress_and_drain(self):
        server = self.server(workers=2)
        server.start()
        pids = self.all_children(server)
        self.assertEqual(len(pids), 3)
        log = server.log()
        self.assertIn("loading weights:", log)
        self.assertIn("MB (", log)
        self.assertIn("  ranks               1", log)
        self.assertEqual(server.get("/startupz", base=server.worker_admin_url(1))["phase"], "ready")
        self.assertEqual(server.stop(), 0)
        self.assertIn("draining", server.log())
        self.wait_gone(pids)

    def test_a_dead_worker_is_started_again(self):
        server = self.server()
        server.start()
        first = server.children("leadline-worker")[0]
        os.kill(first, signal.SIGKILL)
        server.wait_until(lambda: "worker 0 is up again" in server.log(), 20, "the restart")
        self.assertIn("worker 0 ended (killed by SIGKILL); starting it again in 0.5 s", server.log())
        body = server.get("/startupz", base=server.worker_admin_url(0))
        self.assertEqual(body["restarts"], "1")
        self.assertNotEqual(body["pid"], first)

    def test_two_ranks_end_together_and_come_back(self):
        if shutil.which("mpirun") is None:
            self.skipTest("mpirun (package openmpi-bin) is not installed")
        server = self.server(ranks=2)
        server.start()
        ranks = [pid for pid in server.children("leadline-worker")]
        self.assertEqual(len(ranks), 2)
        os.kill(ranks[1], signal.SIGKILL)
        server.wait_until(lambda: "worker 0 is up again" in server.log(), 30, "the restart")
        self.wait_gone(ranks)
        self.assertEqual(len(server.children("leadline-worker")), 2)
        pids = self.all_children(server)
        self.assertEqual(server.stop(), 0)
        self.wait_gone(pids)

    def test_no_child_outlives_a_killed_supervisor(self):
        server = self.server(ranks=2 if shutil.which("mpirun") else 1)
        server.start()
        pids = self.all_children(server)
        self.assertGreaterEqual(len(pids), 2)
        server.process.kill()
        self.wait_gone(pids)

    def test_a_second_signal_insists(self):
        server = self.server(env={"STAND_IN_DRAIN_S": "60"})
        server.start()
        pids = self.all_children(server)
        server.process.send_signal(signal.SIGINT)
        server.wait_until(lambda: "draining" in server.log(), 10)
        server.process.send_signal(signal.SIGINT)
        self.assertEqual(server.process.wait(10), 130)
        self.wait_gone(pids)

    def test_what_never_came_up_is_not_restarted(self):
        server = self.server(env={"STAND_IN_FAILS": "leadline-worker"})
        with self.assertRaises(ServerFailed):
            server.start()
        self.assertEqual(server.process.wait(20), 1)
        self.assertIn("worker 0 could not start (exit status 1)", server.log())
        self.assertIn("stand-in: refused", server.log())

    def test_a_port_in_use_is_refused_by_name(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            done = subprocess.run([self.program, "up", "--model", self.folder, "--port", port], capture_output=True, text=True,
                                  timeout=20)
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"--port {port}: in use", done.stderr)

    def test_wrong_flags_are_refused(self):
        for words in (["--model", "/nowhere"], ["--ranks", "0"], ["--weights", "int3"], ["--tls-cert", self.program]):
            done = subprocess.run([self.program, "up", *words], capture_output=True, text=True, timeout=20,
                                  env=dict(os.environ, LEADLINE_HOME=ROOT))
            self.assertNotEqual(done.returncode, 0, words)
            self.assertIn(words[0], done.stderr + done.stdout)


if __name__ == "__main__":
    unittest.main()
