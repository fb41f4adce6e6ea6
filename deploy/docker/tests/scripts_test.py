"""deploy/slurm/leadline.sbatch with stand-ins for srun and scontrol, real programs behind them: answers, and drains on SIGTERM."""
import json
import os
import signal
import socket
import stat
import subprocess
import tempfile
import time
import unittest
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
BIN = os.path.join(os.environ.get("LEADLINE_BUILD_DIR", os.path.join(ROOT, "build/release")), "bin")
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
exec "$@"
"""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@unittest.skipUnless(os.path.exists(os.path.join(BIN, "leadline-worker")), f"no {BIN}/leadline-worker: build first")
class Slurm(unittest.TestCase):
    def test_job_serves_and_drains(self):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in (("srun", SRUN), ("scontrol", "#!/bin/bash\necho 127.0.0.1\n")):
                path = os.path.join(folder, name)
                with open(path, "w") as file:
                    file.write(text)
                os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)
            port = free_port()
            script = os.path.join(folder, "job")
            with open(os.path.join(ROOT, "deploy/slurm/leadline.sbatch")) as source, open(script, "w") as file:
                text = source.read()  # the ports that a node of one's own leaves free
                for old in ("7100", "9000", "9001"):
                    text = text.replace(old, str(free_port()))
                file.write(text)
            env = {"PATH": folder + ":/usr/bin:/bin", "MODEL": os.path.join(ROOT, "models/reference"), "LEADLINE_BIN": BIN, "PORT": str(port),
                   "RUN_DIR": os.path.join(folder, "run"), "SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "x", "SLURM_CPUS_PER_TASK": "1"}
            log = open(os.path.join(folder, "log"), "w+")
            job = subprocess.Popen(["bash", script], env=env, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
            try:
                body = json.dumps({"model": "reference", "prompt": "Hello", "max_tokens": 2}).encode()
                answer, deadline = None, time.monotonic() + 60
                while answer is None:
                    log.seek(0)
                    self.assertTrue(job.poll() is None and time.monotonic() < deadline, log.read()[-3000:])
                    try:
                        request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/completions", body, {"Content-Type": "application/json"})
                        answer = json.load(urllib.request.urlopen(request, timeout=30))
                    except OSError:
                        time.sleep(0.1)
                self.assertEqual(answer["usage"]["completion_tokens"], 2)
                self.assertEqual(stat.S_IMODE(os.stat(os.path.join(folder, "run/control-secret")).st_mode), 0o600)
                job.send_signal(signal.SIGTERM)
                self.assertEqual(job.wait(30), 0)
            finally:
                job.poll() is None and job.kill()
                log.close()


if __name__ == "__main__":
    unittest.main()
