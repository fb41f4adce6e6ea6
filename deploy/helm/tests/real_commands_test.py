"""The chart's own container commands, run as local processes with the rendered arguments, environment and probes: they answer a question.

What differs from a pod is only where files and ports are: /usr/local/bin is the build's bin (and deploy/docker for leadline-ranks),
mounts are folders of the test, ports are free ones, names of Services are 127.0.0.1.
"""
import base64
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
import urllib.error
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from chart import NAME, NAMESPACE, ROOT, container_of, render, unavailable  # noqa: E402
from container_process import BUILD, ContainerProcess, free_port  # noqa: E402
from redis_rules import RedisRules  # noqa: E402

KEYS = 'apiKeys.values={"team-a":"key-of-team-a"}'


def missing():
    if unavailable():
        return unavailable()
    if not os.path.exists(os.path.join(BUILD, "bin/leadline-worker")):
        return f"no {BUILD}/bin/leadline-worker: build first"
    return None


@unittest.skipIf(missing(), missing())
class RealCommands(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="leadline-chart-")
        self.addCleanup(folder.cleanup)
        self.folder, self.objects = folder.name, render("laptop-cpu", KEYS)
        control, keys = os.path.join(self.folder, "control"), os.path.join(self.folder, "keys")
        with open(control, "w") as file:
            file.write("a secret of this test\n")
        with open(keys, "w") as file:
            file.write(self.objects[("Secret", f"{NAME}-api-keys")]["stringData"]["api-keys"])
        self.ports = {name: str(free_port()) for name in ("api", "control", "coordinator admin", "worker admin")}
        self.places = {
            "/usr/local/bin/leadline-ranks": os.path.join(ROOT, "deploy/docker/leadline-ranks"),
            "/usr/local/bin": os.path.join(BUILD, "bin"), "/usr/share/leadline/models/reference": os.path.join(ROOT, "models/reference"),
            "/etc/leadline/control/secret": control, "/etc/leadline/api-keys/api-keys": keys,
            f"{NAME}-workers.{NAMESPACE}.svc": "127.0.0.1", f"{NAME}.{NAMESPACE}.svc:8000": "127.0.0.1:" + self.ports["api"],
            ":7100": ":" + self.ports["control"], "--port=8000": "--port=" + self.ports["api"]}

    def start(self, name):
        kind, component = {"worker": ("StatefulSet", "worker"), "coordinator": ("Deployment", "coordinator")}[name]
        template = self.objects[(kind, f"{NAME}-{component}")]["spec"]["template"]
        pod = ContainerProcess(container_of(template, name), {**self.places, "=9000": "=" + self.ports[f"{name} admin"]},
                  {"WORKER_INDEX": "0", "POD_NAME": f"{NAME}-{component}-0"}, os.path.join(self.folder, name + ".log"))
        self.addCleanup(pod.stop)
        return pod

    def ask(self, places=None):
        container = container_of(self.objects[("Job", f"{NAME}-test")]["spec"]["template"], "question")
        pod = ContainerProcess(container, {**self.places, **(places or {})}, {}, os.path.join(self.folder, "question.log"))
        status = pod.process.wait(60)
        pod.log.close()
        return status, pod.output()

    def test_they_answer_a_question(self):
        worker = self.start("worker")
        coordinator = self.start("coordinator")
        for pod in (worker, coordinator):
            for which in ("startupProbe", "livenessProbe", "readinessProbe"):
                pod.until_probed(which)
        status, output = self.ask()
        self.assertEqual(status, 0, output)
        self.assertRegex(output, r"answer: .*[a-z]")
        # The Job fails where it should: a wrong key, an answer that does not match.
        wrong = os.path.join(self.folder, "wrong-keys")
        with open(wrong, "w") as file:
            file.write("team-a:another-key\n")
        self.assertNotEqual(self.ask({"/etc/leadline/api-keys/api-keys": wrong})[0], 0)
        self.assertNotEqual(self.ask({"[a-z0-9]": "a word that no answer has"})[0], 0)
        # A worker that leaves takes readiness with it, not liveness; both drain with status 0 well within their grace.
        self.assertEqual(worker.stop(), 0, worker)
        deadline = time.monotonic() + 10
        while coordinator.probe("readinessProbe") != 503:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)
        self.assertEqual(coordinator.probe("livenessProbe"), 200)
        self.assertEqual(coordinator.stop(), 0)

    def test_a_lost_rank_ends_the_container(self):
        worker = self.start("worker")
        worker.until_probed("readinessProbe")
        with open(f"/proc/{worker.process.pid}/task/{worker.process.pid}/children") as file:
            ranks = file.read().split()
        self.assertEqual(len(ranks), 2)
        os.kill(int(ranks[1]), signal.SIGKILL)
        self.assertNotEqual(worker.process.wait(30), 0)
        self.assertFalse([pid for pid in ranks if os.path.exists(f"/proc/{pid}")])

    def test_two_nodes_by_the_group_environment(self):
        """leadline-ranks by LeaderWorkerSet's variables: two 'pods' of one rank each meet at the leader's address."""
        worker = container_of(self.objects[("StatefulSet", f"{NAME}-worker")]["spec"]["template"], "worker")
        port = str(free_port())
        pods = []
        for node in range(2):
            env = [{"name": name, "value": value} for name, value in (
                ("LEADLINE_RANKS_PER_NODE", "1"), ("LWS_GROUP_SIZE", "2"), ("LWS_WORKER_INDEX", str(node)),
                ("LWS_LEADER_ADDRESS", "127.0.0.1"), ("LEADLINE_RENDEZVOUS", "127.0.0.1:" + port), ("WORKER_INDEX", "0"))]
            pod = ContainerProcess({**worker, "env": env}, {**self.places, "=9000": "=" + self.ports["worker admin"]}, {},
                      os.path.join(self.folder, f"node{node}.log"))
            self.addCleanup(pod.stop)
            pods.append(pod)
        pods[0].until_probed("readinessProbe")
        self.assertEqual(pods[0].stop(), 0)
        self.assertEqual(pods[1].process.wait(20), 0, pods[1].output())

    def train(self, *more):
        """(exit status, last line) of the CronJob's command with `more` flags."""
        template = self.objects[("CronJob", f"{NAME}-policy-trainer")]["spec"]["jobTemplate"]["spec"]["template"]
        container = container_of(template, "trainer")
        pod = ContainerProcess({**container, "args": container["args"] + list(more)},
                  {**self.places, ":9000": ":" + self.ports["worker admin"]}, {}, os.path.join(self.folder, "training.log"))
        status = pod.process.wait(120)
        pod.log.close()
        return status, pod.output()

    def of_worker(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['worker admin']}{path}", timeout=5) as answer:
            return answer.read().decode()

    def last_outcome(self):
        times = dict(re.findall(r'leadline_policy_training_timestamp_seconds\{outcome="([a-z_]+)"\} (\S+)', self.of_worker("/metrics")))
        self.assertEqual(len(times), 4)
        return max(times, key=lambda outcome: float(times[outcome]))

    def test_training_by_the_cronjob(self):
        """Nothing logged, refused, exported and in use, failed, taken up at a start: each by the rendered command on a short run's logs."""
        self.objects = render("laptop-cpu", KEYS, "policyTrainer.enabled=true", "policyTrainer.explore=0.3", 'speculation.policy="static:4,3"')
        folder = os.path.join(self.folder, "policy")
        program = os.path.join(ROOT, "deploy/docker/leadline-train")
        self.places = {"/usr/local/bin/leadline-train": program, **self.places, "/var/lib/leadline/policy": folder}
        worker, coordinator = self.start("worker"), self.start("coordinator")
        for pod in (worker, coordinator):
            pod.until_probed("readinessProbe")
        status, output = self.train()
        self.assertEqual((status, output.splitlines()[-1]), (0, "leadline-train: too_little"), output)
        self.assertEqual(self.last_outcome(), "too_little")
        # Not "auto": on a busy machine the guard may find that this small model had better not draft.
        body = {"model": "reference", "max_tokens": 24, "temperature": 0.8, "speculation": {"mode": "learned"}}
        for number in range(24):
            request = urllib.request.Request(f"http://127.0.0.1:{self.ports['api']}/v1/completions",
                                             json.dumps({**body, "prompt": f"Day {number} of the journey:", "seed": number}).encode(),
                                             {"Content-Type": "application/json", "Authorization": "Bearer key-of-team-a"})
            urllib.request.urlopen(request, timeout=60).read()
        self.assertEqual(worker.stop(), 0)  # what is still in memory goes to the log
        worker = self.start("worker")
        worker.until_probed("readinessProbe")
        short = ("--steps=40", "--sweeps=1")
        status, output = self.train(*short)  # so few rounds never are 200 effective samples
        self.assertEqual((status, output.splitlines()[-1]), (0, "leadline-train: refused"), output)
        self.assertEqual(self.last_outcome(), "refused")
        self.assertIn('"policy":"static"', self.of_worker("/policy"))
        status, output = self.train(*short, "--export-anyway")
        self.assertEqual((status, output.splitlines()[-1]), (0, "leadline-train: exported"), output)
        self.assertEqual(self.last_outcome(), "exported")
        self.assertIn('"policy":"learned"', self.of_worker("/policy"))
        status, output = self.train("--steps=none")
        self.assertEqual((status, output.splitlines()[-1]), (1, "leadline-train: failed"), output)
        self.assertEqual(self.last_outcome(), "failed")
        self.assertIn('"policy":"learned"', self.of_worker("/policy"))
        with open(os.path.join(folder, "outcomes")) as file:
            self.assertEqual([line.split()[1] for line in file], ["too_little", "refused", "exported", "failed"])
        self.assertEqual(worker.stop(), 0)
        worker = self.start("worker")
        worker.until_probed("readinessProbe")
        self.assertIn(f"file:{folder}/exit_policy.llp", self.of_worker("/policy"))
        # A file that does not fit stops nothing: the worker says so and goes by speculation.policy.
        self.assertEqual(worker.stop(), 0)
        with open(os.path.join(folder, "exit_policy.llp"), "w") as file:
            file.write("no policy")
        worker = self.start("worker")
        worker.until_probed("readinessProbe")
        self.assertIn('"policy":"static"', self.of_worker("/policy"))
        self.assertIn("policy file refused", worker.output())

    def test_ranks_refuses_nonsense(self):
        for name, value in (("LEADLINE_RANKS_PER_NODE", "two"), ("LEADLINE_NODE", "1"), ("LEADLINE_RANKS_PER_NODE", "0")):
            done = subprocess.run([os.path.join(ROOT, "deploy/docker/leadline-ranks")], env={"PATH": "/usr/bin:/bin", name: value},
                                  capture_output=True, text=True, check=False)
            self.assertEqual((done.returncode, done.stdout), (2, ""), name)
            self.assertIn("leadline-ranks:", done.stderr)


@unittest.skipIf(unavailable() or not shutil.which("redis-server"), unavailable() or "no redis-server (Debian's redis-server)")
class BundledRedis(unittest.TestCase):
    """The chart's Redis with its arguments and rules: what the store sends is allowed, the rest is not."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="leadline-chart-redis-")
        self.addCleanup(folder.cleanup)
        objects = render("two-node-tp16")
        container = container_of(objects[("StatefulSet", f"{NAME}-redis")]["spec"]["template"], "redis")
        data = {key: base64.b64decode(value).decode() for key, value in objects[("Secret", f"{NAME}-redis")]["data"].items()}
        self.password = data["password"]
        rules = os.path.join(folder.name, "users.acl")
        with open(rules, "w") as file:
            file.write(data["users.acl"])
        self.port = free_port()
        places = {"/etc/redis/users.acl": rules, "0.0.0.0": "127.0.0.1", "6379": str(self.port)}
        words = [places.get(word, word) for word in container["command"] + container["args"]]
        self.process = subprocess.Popen(words, cwd=folder.name, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True)
        self.addCleanup(self.stop)
        self.rules = RedisRules(self.port, self.process)
        self.addCleanup(self.rules.close)

    def stop(self):
        self.process.terminate()
        self.process.communicate(timeout=20)

    def test_its_rules(self):
        self.rules.check(self, self.password)


if __name__ == "__main__":
    unittest.main()
