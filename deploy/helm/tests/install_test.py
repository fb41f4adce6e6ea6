"""The chart on a real control plane (start-cluster of ../shared/tools; simulated nodes, nothing runs in the pods).

Slow test (./leadline test --full), well under ten minutes: server-side validation of every object of every example, then one release's
life: install, places and resources, accounts, `helm test`, upgrades, roll back, scale, drain under the budgets, uninstall.
"""
# labels: slow
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import yaml

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from chart import CHART, NAME, NAMESPACE, RELEASE, VALUES, program, render_text, tools, tools_source, unavailable  # noqa: E402

WORKER, COORDINATOR = "app.kubernetes.io/component=worker", "app.kubernetes.io/component=coordinator"
# The GPU example with fixed numbers (nothing scales here) and a claim that one volume of the test satisfies.
FIXED = ["worker.autoscaling.type=\"none\"", "coordinator.autoscaling.enabled=false", "worker.replicas=4"]
VOLUMES = [{"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
            "spec": {"capacity": {"storage": size}, "accessModes": ["ReadWriteMany"], "storageClassName": "shared-files",
                     "hostPath": {"path": "/srv/" + name}, "persistentVolumeReclaimPolicy": "Retain"}}
           for name, size in (("models", "64Gi"), ("policies", "4Gi"))]


def go_first():
    """Where the simulated nodes' heartbeats starve on a busy machine, their pods are not ready, and never will be again."""
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -19)
    except PermissionError:
        pass


class Cluster:
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="leadline-cluster-")
        self.log = open(os.path.join(self.dir, "out"), "w+")
        self.process = subprocess.Popen([os.path.join(tools_source(), "start-cluster"), self.dir, "3"], stdout=self.log,
                                        stderr=self.log, stdin=subprocess.DEVNULL, preexec_fn=go_first)
        deadline = time.monotonic() + 120
        while "ready" not in self.output().splitlines():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(self.output())
            time.sleep(0.2)
        self.env = dict(os.environ, KUBECONFIG=os.path.join(self.dir, "kubeconfig"), PATH=tools() + ":" + os.environ["PATH"])

    def output(self):
        with open(self.log.name) as file:
            return file.read()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.log.close()

    def run(self, *command, text=None, ok=True, timeout=240):
        done = subprocess.run([program(command[0]), *command[1:]], input=text, capture_output=True, text=True, check=False,
                              env=self.env, timeout=timeout)
        if ok and done.returncode != 0:
            raise AssertionError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
        return done

    def get(self, kind, selector=None, namespace=NAMESPACE):
        extra = ["-l", selector] if selector else []
        return json.loads(self.run("kubectl", "get", kind, "-n", namespace, "-o", "json", *extra).stdout)["items"]

    def apply(self, *objects):
        self.run("kubectl", "apply", "-f", "-", text=yaml.safe_dump_all(objects))

    def until(self, condition, what, timeout=60):
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {timeout} s: {what}")
            time.sleep(0.25)


def is_ready(pod):
    return not pod["metadata"].get("deletionTimestamp") and any(
        c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))


@unittest.skipIf(unavailable(), unavailable())
class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.began = time.monotonic()
        cls.cluster = Cluster()
        cls.addClassCleanup(cls.cluster.stop)
        cls.cluster.run("kubectl", "create", "namespace", NAMESPACE)
        disk = json.dumps({"status": {key: {"ephemeral-storage": "200Gi"} for key in ("allocatable", "capacity")}})
        for number in range(3):  # the simulated nodes have none, and the chart's pods ask for some
            cls.cluster.run("kubectl", "patch", "node", f"node-{number}", "--subresource=status", "-p", disk)

    def setUp(self):
        self.run_, self.get = self.cluster.run, self.cluster.get

    def helm(self, verb, example, *settings, release=RELEASE, namespace=NAMESPACE):
        arguments = [verb, release, CHART, "-n", namespace, "-f", VALUES[example], "--wait", "--timeout", "150s"]
        for setting in settings:
            arguments += ["--set-json", setting]
        return self.run_("helm", *arguments)

    def ids(self, selector):
        return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in self.get("pods", selector) if is_ready(pod)}

    def settle(self, selector, count):
        self.cluster.until(lambda: len(self.ids(selector)) == count and len(self.get("pods", selector)) == count,
                           f"{count} ready pods of {selector}")
        return self.ids(selector)

    def test_server_accepts_every_object(self):
        self.run_("kubectl", "create", "namespace", "validation")
        for example in VALUES:
            with self.subTest(example=example):
                objects = [o for o in yaml.safe_load_all(render_text(example).stdout) if o]
                # LeaderWorkerSet's definition could not be had: its pods are validated as Pods, the object by its golden.
                for entry in objects:
                    if "namespace" in entry["metadata"]:
                        entry["metadata"]["namespace"] = "validation"
                groups = [o for o in objects if o["kind"] == "LeaderWorkerSet"]
                self.assertEqual(len(groups), 1 if example == "two-node-tp16" else 0)
                for group in groups:
                    objects.remove(group)
                    for role in ("leaderTemplate", "workerTemplate"):
                        template = group["spec"]["leaderWorkerTemplate"][role]
                        metadata = dict(template["metadata"], name=role.lower(), namespace="validation")
                        objects.append({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})
                done = self.run_("kubectl", "apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict",
                                 "-f", "-", text=yaml.safe_dump_all(objects))
                self.assertEqual(len(done.stdout.strip().splitlines()), len(objects), done.stdout)
                self.assertNotIn("Warning", done.stderr)

    def test_restricted_namespace_takes_the_pods(self):
        self.run_("kubectl", "create", "namespace", "strict")
        self.run_("kubectl", "label", "namespace", "strict", "pod-security.kubernetes.io/enforce=restricted")
        done = self.helm("install", "laptop-cpu", namespace="strict")
        self.assertNotIn("violate", done.stderr)
        self.assertEqual(len([p for p in self.get("pods", namespace="strict") if is_ready(p)]), 2)
        secret = self.get("secrets", WORKER.replace("worker", "control"), "strict")[0]["data"]
        # A made secret stays the same over upgrades, or half of the pods could not talk to the other half.
        self.helm("upgrade", "laptop-cpu", "controlSecret.value=\"\"", namespace="strict")
        self.helm("upgrade", "laptop-cpu", "controlSecret.value=\"\"", "worker.maxSeqs=8", namespace="strict")
        self.assertEqual(self.get("secrets", WORKER.replace("worker", "control"), "strict")[0]["data"], secret)

    def test_life_of_a_release(self):
        for name in ("leadline-control", "leadline-api-keys", "leadline-tls", "model-hub-token"):
            self.run_("kubectl", "create", "secret", "generic", name, "-n", NAMESPACE, "--from-literal=secret=0123456789abcdef")
        self.cluster.apply(*VOLUMES)
        self.helm("install", "gpu-tp2", *FIXED)
        self.check_places()
        self.check_accounts()
        self.run_("helm", "test", RELEASE, "-n", NAMESPACE, "--timeout", "60s")
        self.check_training()
        self.check_upgrades()
        self.check_drain()
        self.check_uninstall()
        self.assertLess(time.monotonic() - self.began, 600)

    def check_places(self):
        workers, coordinators = self.get("pods", WORKER), self.get("pods", COORDINATOR)
        self.assertEqual((len(workers), len(coordinators)), (4, 2))
        self.assertTrue(all(map(is_ready, workers + coordinators)))
        for pod in workers:
            limits = pod["spec"]["containers"][0]["resources"]["limits"]
            self.assertEqual((limits["nvidia.com/gpu"], limits["memory"]), ("2", "80Gi"))
            self.assertEqual(pod["spec"]["priority"], 100000)
            self.assertIn("apps.kubernetes.io/pod-index", pod["metadata"]["labels"])  # --worker-index reads it
        # Spread: four workers over three nodes, two coordinators on different ones.
        self.assertEqual(len({pod["spec"]["nodeName"] for pod in workers}), 3)
        self.assertEqual(len({pod["spec"]["nodeName"] for pod in coordinators}), 2)
        self.cluster.until(lambda: self.addresses(f"{NAME}-workers") == 4, "an address for each worker")

    def addresses(self, service):
        slices = self.get("endpointslices", f"kubernetes.io/service-name={service}")
        return sum(len(each["endpoints"] or []) for each in slices)

    def check_training(self):
        """A run of the CronJob gets a pod of its own on a node, with its account and claim, and the job ends."""
        self.run_("kubectl", "create", "job", "training", "-n", NAMESPACE, f"--from=cronjob/{NAME}-policy-trainer")
        trained = "app.kubernetes.io/component=policy-trainer"
        self.cluster.until(lambda: [p for p in self.get("pods", trained) if p["spec"].get("nodeName")], "a pod of the training")
        [pod] = self.get("pods", trained)
        self.assertEqual((pod["spec"]["serviceAccountName"], pod["spec"]["restartPolicy"]), (f"{NAME}-policy-trainer", "Never"))
        self.assertFalse([c for c in pod["spec"]["containers"][0]["volumeMounts"] if "serviceaccount" in c["mountPath"]])
        claims = {c["metadata"]["name"]: c["status"]["phase"] for c in self.get("persistentvolumeclaims")}
        self.assertEqual(claims, {f"{NAME}-model": "Bound", f"{NAME}-policy": "Bound"})
        self.run_("kubectl", "delete", "job", "training", "-n", NAMESPACE, "--wait")

    def check_accounts(self):
        accounts = {a["metadata"]["name"] for a in self.get("serviceaccounts")}
        self.assertTrue({p["spec"]["serviceAccountName"] for p in self.get("pods")} <= accounts)
        everyone = self.rights("nobody")
        for account in (f"{NAME}-coordinator", f"{NAME}-worker", f"{NAME}-policy-trainer"):
            self.assertEqual(self.rights(account), everyone)  # nothing beyond what any account may do
            for verb, what in (("get", "secrets"), ("list", "pods"), ("create", "pods"), ("get", "configmaps")):
                allowed = self.run_("kubectl", "auth", "can-i", verb, what, "-n", NAMESPACE, "--as",
                                    f"system:serviceaccount:{NAMESPACE}:{account}", ok=False)
                self.assertEqual(allowed.stdout.strip(), "no", f"{account} {verb} {what}")

    def rights(self, account):
        return self.run_("kubectl", "auth", "can-i", "--list", "-n", NAMESPACE, "--as",
                         f"system:serviceaccount:{NAMESPACE}:{account}").stdout

    def check_upgrades(self):
        workers, coordinators = self.ids(WORKER), self.ids(COORDINATOR)
        self.helm("upgrade", "gpu-tp2", *FIXED)
        self.assertEqual((self.ids(WORKER), self.ids(COORDINATOR)), (workers, coordinators))  # nothing changed: nothing restarts
        self.helm("upgrade", "gpu-tp2", *FIXED, "coordinator.logLevel=\"debug\"")
        after = self.settle(COORDINATOR, 2)
        self.assertFalse(set(after.values()) & set(coordinators.values()))
        self.assertEqual(self.ids(WORKER), workers)
        self.helm("upgrade", "gpu-tp2", *FIXED, "coordinator.logLevel=\"debug\"", "worker.drainMs=90000")
        self.assertFalse(set(self.settle(WORKER, 4).values()) & set(workers.values()))
        self.assertEqual(self.ids(COORDINATOR), after)
        self.assertEqual({p["spec"]["terminationGracePeriodSeconds"] for p in self.get("pods", WORKER)}, {90 + 2 + 22})
        self.run_("helm", "rollback", RELEASE, "1", "-n", NAMESPACE, "--wait", "--timeout", "120s")
        self.settle(COORDINATOR, 2)
        self.settle(WORKER, 4)
        args = [p["spec"]["containers"][0]["args"] for p in self.get("pods")]
        self.assertFalse([a for each in args for a in each if a in ("--log-level=debug", "--drain-ms=90000")])
        before = self.ids(WORKER)
        self.helm("upgrade", "gpu-tp2", *FIXED, "worker.replicas=5")
        self.assertEqual(before.items() & self.settle(WORKER, 5).items(), before.items())  # the four go on
        self.helm("upgrade", "gpu-tp2", *FIXED)
        self.assertEqual(self.settle(WORKER, 4), before)

    def check_drain(self):
        self.settle(COORDINATOR, 2)
        node = self.get("pods", WORKER)[0]["spec"]["nodeName"]
        self.run_("kubectl", "drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=120s")
        self.settle(WORKER, 4)
        self.settle(COORDINATOR, 2)
        self.assertNotIn(node, {p["spec"]["nodeName"] for p in self.get("pods", WORKER) + self.get("pods", COORDINATOR)})
        # Where an evicted pod finds no place, the budget keeps the next one.
        for number in range(3):
            self.run_("kubectl", "cordon", f"node-{number}")
        for selector, count in ((WORKER, 4), (COORDINATOR, 2)):
            names = sorted(self.ids(selector))
            self.assertEqual(self.evict(names[0]).returncode, 0)
            self.cluster.until(lambda s=selector, c=count: len(self.ids(s)) == c - 1, "one pod less")
            refused = self.evict(next(name for name in names if name in self.ids(selector)))
            self.assertIn("disruption budget", refused.stdout + refused.stderr)
        for number in range(3):
            self.run_("kubectl", "uncordon", f"node-{number}")
        self.settle(WORKER, 4)
        self.settle(COORDINATOR, 2)

    def evict(self, pod):
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": NAMESPACE}}
        return self.run_("kubectl", "create", "--raw", f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/eviction", "-f", "-",
                         text=json.dumps(eviction), ok=False)

    def check_uninstall(self):
        self.run_("helm", "uninstall", RELEASE, "-n", NAMESPACE, "--wait", "--timeout", "120s")
        self.cluster.until(lambda: not [p for p in self.get("pods") if not p["metadata"]["name"].startswith(f"{NAME}-test")], "no pods")
        self.assertEqual({c["metadata"]["name"] for c in self.get("persistentvolumeclaims")}, {f"{NAME}-model", f"{NAME}-policy"})
        left = [kind for kind in ("deployments", "statefulsets", "cronjobs", "services", "networkpolicies", "poddisruptionbudgets", "servicemonitors")
                if self.get(kind)]
        self.assertEqual(left, [])


if __name__ == "__main__":
    unittest.main()
