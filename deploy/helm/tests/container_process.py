"""ContainerProcess: a container's command as a local process, with paths, names and ports replaced. For tests of the chart and of compose."""
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
BUILD = os.environ.get("LEADLINE_BUILD_DIR", os.path.join(ROOT, "build/release"))


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class ContainerProcess:
    """One container as a process: `places` replaces text in its command, arguments and environment."""

    def __init__(self, container, places, downward, log):
        self.places = places
        env = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "LEADLINE_WORKER_PROGRAM": os.path.join(BUILD, "bin/leadline-worker"),
               "LEADLINE_PROGRAM": os.path.join(BUILD, "bin/leadline")}
        for entry in container.get("env", []):
            env[entry["name"]] = self.place(entry["value"]) if "value" in entry else downward[entry["name"]]
        if "LEADLINE_RANKS_PER_NODE" in env:
            env["LEADLINE_RENDEZVOUS_PORT"] = str(free_port())
        words = [self.place(word) for word in container["command"] + container["args"]]
        for name, value in env.items():  # $(NAME) in arguments, as the kubelet does it
            words = [word.replace(f"$({name})", value) for word in words]
        self.log = open(log, "w+")
        self.process = subprocess.Popen(words, env=env, cwd="/", stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.container = container

    def place(self, text):
        for old, new in self.places.items():
            text = text.replace(old, new)
        return text

    def probe(self, which):
        get = self.container[which]["httpGet"]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.places['=9000'][1:]}{get['path']}", timeout=3) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return None

    def output(self):
        with open(self.log.name) as file:
            return file.read()

    def until_probed(self, which, timeout=60):
        deadline = time.monotonic() + timeout
        while self.probe(which) != 200:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{which}: {self.process.poll()}\n{self.output()[-3000:]}")
            time.sleep(0.05)

    def stop(self, grace=30):
        """SIGTERM as a kubelet: the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(grace)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.log.close()
        return self.process.wait()
