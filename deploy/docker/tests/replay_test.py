"""Each image's final stage, replayed in a debootstrap root (there is no Docker daemon here): same packages, files and user, read-only but
for /tmp, /dev/shm and the volume. Coordinator and worker run in theirs, are healthy by the image's own check, and answer questions; the
trainer trains on what the worker logged and tells it. The image for GPUs is replayed without NVIDIA's packages, with the program for CPUs.

Slow test; needs root, debootstrap and a Debian mirror. LEADLINE_REPLAY_BASE names a minbase root to copy instead of making one.
"""
# labels: slow
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from images_test import BUILD, CUDA, ROOT, final_stage, installed  # noqa: E402
from scripts_test import free_port  # noqa: E402

MIRROR = os.environ.get("LEADLINE_DEBIAN_MIRROR", "")
ENTER = r"""
set -eu
root=$1; shift
mount --bind "$root" "$root"
mount -o remount,ro,bind "$root"
mount -t tmpfs tmpfs "$root/tmp"
mkdir -p "$root/dev/shm" 2>/dev/null || true
mount -t tmpfs tmpfs "$root/dev/shm"
mount -t proc proc "$root/proc"
[ -z "${VOLUME:-}" ] || mount --bind "$VOLUME" "$root/var/lib/leadline/policy"
exec /usr/sbin/chroot --userspec=10001:10001 --groups= "$root" "$@"
"""


def unavailable():
    if os.geteuid() != 0:
        return "needs root for chroot and mounts"
    if shutil.which("debootstrap") is None and not os.environ.get("LEADLINE_REPLAY_BASE"):
        return "debootstrap is missing"
    if not os.path.exists(os.path.join(BUILD, "bin/leadline-worker")):
        return f"no {BUILD}/bin/leadline-worker: build first"
    return None


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


class Replayed:
    """The root of one image, made by the lines of its Dockerfile's final stage."""

    def __init__(self, image, base, folder):
        self.root, self.stage = os.path.join(folder, image), final_stage(image)
        run("cp", "-a", base, self.root)
        shutil.copy("/etc/resolv.conf", self.root + "/etc/resolv.conf")
        with open(self.root + "/usr/sbin/policy-rc.d", "w") as file:
            file.write("#!/bin/sh\nexit 101\n")
        env = dict(os.environ, DEBIAN_FRONTEND="noninteractive", LC_ALL="C")
        self.chroot = lambda *words: run("chroot", self.root, *words, env=env)
        self.chroot("apt-get", "update", "-qq")
        self.chroot("apt-get", "install", "-qq", "-y", "--no-install-recommends", *sorted(installed(self.stage) - CUDA))
        self.chroot("/bin/sh", "-c", re.search(r"&& (useradd [^\n]*)", self.stage).group(1))
        for line in re.findall(r"^COPY (.*)$", self.stage, re.M):
            words = line.split()
            target = self.root + words[-1]
            os.makedirs(target, exist_ok=True)
            for source in words[:-1]:
                if source == "--from=build":
                    continue
                shutil.copy(source.replace("/build", BUILD, 1) if source.startswith("/build/") else os.path.join(ROOT, source), target)
        os.makedirs(self.root + "/dev/shm", exist_ok=True)
        with open(self.root + "/run/control", "w") as file:
            file.write("a secret of this test\n")
        os.chmod(self.root + "/run/control", 0o644)
        self.entry = re.search(r'ENTRYPOINT \["([^"]*)"\]', self.stage).group(1)
        os.makedirs(self.root + "/var/lib/leadline/policy")  # where the volume is mounted
        health = re.search(r'HEALTHCHECK .*CMD \["([^"]*)"\]', self.stage)
        self.health = health.group(1) if health else None

    def command(self, *words):
        return ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", ENTER, "enter", self.root, *words]

    def start(self, log, *flags, **env):
        clean = {"PATH": "/usr/local/bin:/usr/bin:/bin", **env}
        return subprocess.Popen(self.command(self.entry, *flags), env=clean, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def call(self, *words, text=None, timeout=60, **env):
        return subprocess.run(self.command(*words), input=text, capture_output=True, text=True, check=False, timeout=timeout,
                              env={**os.environ, **env})


@unittest.skipIf(unavailable(), unavailable())
class Replay(unittest.TestCase):
    def test_images_answer_a_question(self):
        with tempfile.TemporaryDirectory(prefix="leadline-replay-") as folder:
            base = os.environ.get("LEADLINE_REPLAY_BASE")
            if not base:
                base = os.path.join(folder, "base")
                run("debootstrap", "--variant=minbase", "bookworm", base, *([MIRROR] if MIRROR else []))
            self.volume = os.path.join(folder, "volume")
            os.mkdir(self.volume)
            os.chown(self.volume, 10001, 10001)
            coordinator, trainer = Replayed("coordinator", base, folder), Replayed("trainer", base, folder)
            for image in ("worker-cpu", "worker-cuda"):
                with self.subTest(image=image):
                    self.answers(Replayed(image, base, folder), coordinator, trainer, folder)

    def ask_more(self, api):
        """Enough sequences that some can be held out."""
        for number in range(16):
            body = {"model": "reference", "prompt": f"Day {number} of the journey:", "max_tokens": 16, "speculation": {"mode": "learned"}}
            request = urllib.request.Request(f"http://127.0.0.1:{api}/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
            urllib.request.urlopen(request, timeout=60).read()

    def trains(self, trainer, admin, outcome):
        """Its last line, and the worker's metric where one runs."""
        done = trainer.call(trainer.entry, "--steps=40", "--sweeps=1", timeout=300, VOLUME=self.volume,
                            LEADLINE_WORKERS=f"127.0.0.1:{admin}" if admin else "")
        self.assertEqual((done.returncode, done.stdout.splitlines()[-1:]), (0, [f"leadline-train: {outcome}"]), done.stderr)
        self.assertEqual(trainer.call("/usr/bin/id", "-u").stdout.strip(), "10001")
        if admin:
            with urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics", timeout=10) as answer:
                self.assertRegex(answer.read().decode(), r'policy_training_timestamp_seconds\{outcome="%s"\} 1' % outcome)

    def answers(self, worker, coordinator, trainer, folder):
        control, admin_w, admin_c, api = (str(free_port()) for _ in range(4))
        model = "--model=/usr/share/leadline/models/reference"
        secret = "--control-secret-file=/run/control"
        logs = [open(os.path.join(folder, name), "w+") for name in ("worker.log", "coordinator.log")]
        running = [worker.start(logs[0], model, secret, f"--listen=127.0.0.1:{control}", f"--admin-port={admin_w}", "--threads=1",
                                "--kv-pool=64MiB", "--speculation=static:4,3", "--explore=0.3",
                                "--experience=/var/lib/leadline/policy/experience/a", VOLUME=self.volume,
                                LEADLINE_RANKS_PER_NODE="2", LEADLINE_RENDEZVOUS_PORT=str(free_port())),
                   coordinator.start(logs[1], model, secret, f"--port={api}", f"--admin-port={admin_c}", f"--worker=127.0.0.1:{control}")]
        try:
            deadline = time.monotonic() + 60
            while worker.call(worker.health, admin_w).returncode or coordinator.call(coordinator.health, admin_c).returncode:
                self.assertTrue(time.monotonic() < deadline and not any(p.poll() is not None for p in running), self.read(logs))
            asked = coordinator.call("/usr/local/bin/leadline", "chat", "--url", f"http://127.0.0.1:{api}", "--temperature", "0", "--max-tokens",
                                     "16", "--timeout", "30", text="When does Nils arrive?\n")
            self.assertEqual(asked.returncode, 0, asked.stderr + self.read(logs))
            self.assertRegex(asked.stdout, "[A-Za-z]{2}")
            for image in (worker, coordinator):
                self.assertEqual(image.call("/usr/bin/id", "-u").stdout.strip(), "10001")
                self.assertNotEqual(image.call("/usr/bin/touch", "/usr/local/bin/x").returncode, 0)
                self.assertNotEqual(image.call("/usr/bin/touch", "/x").returncode, 0)
                self.assertNotEqual(image.call(image.health, "1").returncode, 0)  # the check can fail
            self.trains(trainer, admin_w, "too_little")
            self.ask_more(api)
            for process in reversed(running):
                process.send_signal(signal.SIGTERM)
                self.assertEqual(process.wait(40), 0, self.read(logs))
            self.trains(trainer, None, "refused")  # what was in memory is in the log now; so little shows nothing
            shutil.rmtree(os.path.join(self.volume, "experience"))
        finally:
            for process in running:
                process.poll() is None and process.kill()
                process.wait()
            for log in logs:
                log.close()

    def read(self, logs):
        text = ""
        for log in logs:
            with open(log.name) as file:
                text += file.read()[-2000:]
        return text


if __name__ == "__main__":
    unittest.main()
