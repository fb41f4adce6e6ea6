#!/usr/bin/env python3
"""The web console in Debian's Chromium, driven by playwright-core: send, stream, stop, reload, keys, a server that goes and comes.

SCREENSHOTS=FOLDER keeps pictures. Needs chromium, node and npm (and its registry, or what an earlier run installed).
"""
# labels: slow
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from npm_packages import npm_folder
from server_process import ServerProcess

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "console_browser.mjs")
PLAYWRIGHT = "playwright-core@1.50.0"
KEY = "console-test-key-1"
SCENARIO_LIMIT_S = 120


def browser_environment():
    chromium = shutil.which("chromium")
    if not chromium:
        raise unittest.SkipTest("chromium is not installed (Debian: apt-get install chromium)")
    return dict(os.environ, CHROMIUM=chromium, PLAYWRIGHT_FOLDER=npm_folder(PLAYWRIGHT), CONSOLE_KEY=KEY)


class ConsoleTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.env = browser_environment()
        cls.server = ServerProcess(ranks=1, workers=1, extra=["--threads", "1"])
        cls.server.start()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def drive(self, scenario, server=None, on_step=None, **env):
        command = ["node", SCRIPT, scenario, (server or self.server).url + "/"]
        with tempfile.TemporaryFile("w+") as errors:
            process = subprocess.Popen(command, env={**self.env, **env}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True)
            try:
                for line in process.stdout:
                    on_step(json.loads(line)["step"])
                    process.stdin.write("\n")
                    process.stdin.flush()
                status = process.wait(SCENARIO_LIMIT_S)
            finally:
                process.kill()
                process.wait()
                process.stdin.close()
                process.stdout.close()
            errors.seek(0)
            self.assertEqual(status, 0, f"{scenario}: {errors.read()[-3000:]}")

    def test_send_stream_reload(self):
        self.drive("chat")

    def test_stop(self):
        self.drive("stop")

    def test_token_view(self):
        self.drive("tokens")

    def test_fields_that_come_later_are_shown_when_they_exist(self):
        self.drive("fields")

    def test_drafts_and_tiers_of_a_real_server(self):
        """What one server computed, the next has from disk, and one without that disk from Redis."""
        drafts = ["--threads", "1", "--speculation", "static:4,4", "--kv-memory", "0"]
        with tempfile.TemporaryDirectory(prefix="leadline-console-kv-") as folder:
            redis = ["--kv-redis", f"redis://127.0.0.1:{self.redis(folder)}"] if shutil.which("redis-server") else []
            disk = ["--kv-disk", os.path.join(folder, "blocks")]
            runs = [(None, disk + redis), ("disk", disk)] + ([("redis", ["--kv-disk-bytes", "0"] + redis)] if redis else [])
            for tier, flags in runs:
                with ServerProcess(ranks=1, workers=1, extra=drafts + flags) as server:
                    self.drive("engine", server, **({"CONSOLE_TIER": tier} if tier else {}))

    def redis(self, folder):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        process = subprocess.Popen(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.terminate)
        return port

    def test_model_text_is_never_markup(self):
        self.drive("hostile")

    def test_looks_and_keyboard(self):
        self.drive("looks")

    def test_wrong_key_and_right_key(self):
        with tempfile.NamedTemporaryFile("w", suffix=".keys") as keys:
            keys.write(f"alice:{KEY}\n")
            keys.flush()
            with ServerProcess(ranks=1, workers=1, extra=["--threads", "1", "--api-key-file", keys.name]) as server:
                for path, wanted in {"/": 200, "/console/console.js": 200, "/v1/leadline/status": 401, "/console/none.js": 404}.items():
                    self.assertEqual(server.request(path)[0], wanted, path)
                self.drive("key", server)

    def test_server_gone_and_back(self):
        def on_step(step):
            if step == "kill":  # the supervisor starts it again on the same port; held back so that the page notices
                for pid in self.server.children("leadline-coordinator"):
                    os.kill(pid, signal.SIGKILL)
            elif step == "gone":
                self.server.wait_until(self.server.is_ready, what="the coordinator's return")
        self.drive("gone", on_step=on_step)

    def test_no_console(self):
        with ServerProcess(ranks=1, workers=1, extra=["--threads", "1", "--no-console"]) as server:
            for path, wanted in {"/": 404, "/console/console.js": 404, "/v1/leadline/status": 200}.items():
                self.assertEqual(server.request(path)[0], wanted, path)


if __name__ == "__main__":
    unittest.main(verbosity=2)
