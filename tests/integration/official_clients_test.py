#!/usr/bin/env python3
"""Both official OpenAI clients, unmodified, against `leadline up` on the reference model, with an API key file.

npm's `openai` comes from the registry, the Python one from wheels (LEADLINE_WHEELS, or ../shared/tools/wheels beside the
checkout) into a virtual environment below the build directory. Without npm, Python 3.11 or the wheels that half is skipped."""
import glob
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from npm_packages import npm_folder  # noqa: E402
from server_process import BUILD, ROOT, ServerProcess  # noqa: E402

NPM_OPENAI = "openai@7.57.0"
SCRIPTS = os.path.join(ROOT, "tests/integration/official_clients")
KEY, BAD_KEY = "test-key-0123456789abcdef", "test-key-wrong"
TIMEOUT_S = 240


def wheels_folder():
    places = [os.environ.get("LEADLINE_WHEELS", ""), os.path.join(ROOT, "../shared/tools/wheels"),
              os.path.join(ROOT, "../../shared/tools/wheels")]
    for place in places:
        if glob.glob(os.path.join(place, "openai-*.whl")):
            return place
    raise unittest.SkipTest("no wheels of the Python client (set LEADLINE_WHEELS)")


def python_with_openai():
    wheels = wheels_folder()
    program = next((p for p in (shutil.which("python3.11"), "/usr/bin/python3") if p and os.path.exists(p)), None)
    if program is None:
        raise unittest.SkipTest("Python 3.11 is not installed (the wheels are for it)")
    folder = os.path.join(BUILD, "venv-openai")
    python = os.path.join(folder, "bin/python")
    if os.path.exists(python) and subprocess.run([python, "-c", "import openai"], capture_output=True).returncode == 0:
        return python
    made = subprocess.run([program, "-m", "venv", "--clear", folder], capture_output=True, text=True)
    if made.returncode != 0:
        raise unittest.SkipTest("no virtual environment: " + " ".join((made.stdout + made.stderr).split())[:200])
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-index", "--find-links", wheels, "openai"], check=True,
                   capture_output=True, text=True)
    return python


class OfficialClientsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not os.path.exists(os.path.join(BUILD, "bin/leadline-coordinator")):
            raise unittest.SkipTest("leadline-coordinator is not built")
        cls.folder = tempfile.TemporaryDirectory()
        keys = os.path.join(cls.folder.name, "keys")
        with open(keys, "w", encoding="utf-8") as file:
            file.write(KEY + "\n")
        os.chmod(keys, 0o600)
        cls.server = ServerProcess(ranks=2, extra=["--api-key-file", keys])
        cls.server.start()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.folder.cleanup()

    def run_client(self, command, cwd):
        env = dict(os.environ, LEADLINE_BASE_URL=self.server.url + "/v1", LEADLINE_API_KEY=KEY, LEADLINE_BAD_KEY=BAD_KEY,
                   LEADLINE_MODEL=self.server.model)
        result = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=TIMEOUT_S)
        lines = result.stdout.splitlines()
        failed = [line for line in lines if line.startswith("FAILED")]
        self.assertEqual(failed, [], "\n".join(failed))
        self.assertEqual(result.returncode, 0, result.stdout[-1000:] + result.stderr[-2000:])
        self.assertGreaterEqual(len(lines), 12)
        print(f"{len(lines)} checks of {os.path.basename(command[-1])} passed")

    def test_npm_client(self):
        folder = npm_folder(NPM_OPENAI)
        self.run_client(["node", os.path.join(SCRIPTS, "client.mjs")], folder)

    def test_python_client(self):
        self.run_client([python_with_openai(), os.path.join(SCRIPTS, "client.py")], self.folder.name)


if __name__ == "__main__":
    unittest.main()
