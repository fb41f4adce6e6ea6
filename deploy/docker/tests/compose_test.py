"""deploy/compose.yaml: its rules, and its commands as local processes with what deploy/make-secrets makes: Redis by its rules, a worker and
the coordinator answer, and blocks reach Redis. What differs is only where files and ports are."""
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
sys.path.insert(0, os.path.join(ROOT, "deploy/helm/tests"))
from container_process import BUILD, ContainerProcess, free_port  # noqa: E402
from redis_rules import RedisRules  # noqa: E402

HARDENED = ("coordinator", "redis", "worker-a", "worker-b")


def services():
    with open(os.path.join(ROOT, "deploy/compose.yaml")) as file:
        return yaml.safe_load(re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", file.read()))  # as with no variables set


class Compose(unittest.TestCase):
    def test_rules(self):
        compose = services()
        parts = compose["services"]
        self.assertEqual(sorted(parts), ["coordinator", "grafana", "prometheus", "redis", "worker-a", "worker-b"])
        for name, service in parts.items():
            self.assertRegex(service["image"], r":v?\d+\.\d+\.\d+(-bookworm)?$", name)
            for port in service.get("ports", []):
                self.assertTrue(port.startswith("127.0.0.1:"), f"{name}: {port}")
            for volume in service.get("volumes", []):
                source = volume.split(":")[0]
                if source.startswith(".."):
                    self.assertTrue(os.path.exists(os.path.join(ROOT, "deploy", source)), f"{name}: {source}")
            self.assertLessEqual(set(service.get("secrets", [])), set(compose["secrets"]))
        for name in HARDENED:
            self.assertTrue(parts[name]["read_only"])
            self.assertEqual((parts[name]["cap_drop"], parts[name]["security_opt"]), (["ALL"], ["no-new-privileges:true"]))
        self.assertNotIn("redis-url", parts["coordinator"]["secrets"])  # who does not dial it does not know it
        with open(os.path.join(ROOT, "monitoring/prometheus.yaml")) as file:
            targets = yaml.safe_load(file)["scrape_configs"][0]["static_configs"][0]["targets"]
        self.assertEqual({t.split(":")[0] for t in targets}, {"coordinator", "worker-a", "worker-b"})

    def make_secrets(self, folder):
        secrets = os.path.join(folder, "secrets")
        for _ in range(2):  # the second time it leaves what is there
            subprocess.run([os.path.join(ROOT, "deploy/make-secrets"), secrets], check=True)
            texts = {}
            for name in os.listdir(secrets):
                with open(os.path.join(secrets, name)) as file:
                    texts[name] = file.read()
            self.assertEqual(getattr(self, "texts", texts), texts)
            self.texts = texts
        self.assertEqual(stat.S_IMODE(os.stat(secrets).st_mode), 0o700)
        named = {os.path.basename(s["file"]) for s in services()["secrets"].values()}
        self.assertEqual(named, set(texts))
        self.assertGreater(len(texts["control"]), 32)
        self.password = re.match("redis://default:([^@]{32,})@redis:6379/0\n", texts["redis-url"]).group(1)
        self.assertIn(f">{self.password} ", texts["redis-users.acl"])
        return secrets

    @unittest.skipUnless(shutil.which("redis-server") and os.path.exists(os.path.join(BUILD, "bin/leadline-worker")),
                         f"no redis-server (Debian's), or no {BUILD}/bin/leadline-worker: build first")
    def test_commands_start_and_blocks_reach_redis(self):
        folder = tempfile.TemporaryDirectory(prefix="leadline-compose-")
        self.addCleanup(folder.cleanup)
        secrets, parts = self.make_secrets(folder.name), services()["services"]
        ports = {name: str(free_port()) for name in ("api", "control", "redis", "coordinator", "worker-a")}
        with open(os.path.join(secrets, "redis-url"), "w") as file:
            file.write(self.texts["redis-url"].replace("redis:6379", "127.0.0.1:" + ports["redis"]))
        common = {"/run/secrets/redis-users": secrets + "/redis-users.acl", "/run/secrets": secrets, "0.0.0.0": "127.0.0.1", "/models": ROOT + "/models/reference",
                  "worker-a:7100": "127.0.0.1:" + ports["control"], ":7100": ":" + ports["control"], "6379": ports["redis"],
                  "--port=8000": "--port=" + ports["api"]}
        programs = {"redis": [], "worker-a": [os.path.join(ROOT, "deploy/docker/leadline-ranks")], "coordinator": [os.path.join(BUILD, "bin/leadline-coordinator")]}
        running = {}
        for name, program in programs.items():
            container = {"command": program, "args": [word for word in parts[name]["command"] if word != "--worker=worker-b:7100"],
                         "env": [{"name": n, "value": v} for n, v in parts[name].get("environment", {}).items()],
                         "ready": {"httpGet": {"path": "/readyz"}}}
            running[name] = ContainerProcess(container, {**common, "=9000": "=" + ports.get(name, "")}, {}, os.path.join(folder.name, name + ".log"))
            self.addCleanup(running[name].stop)
        rules = RedisRules(int(ports["redis"]), running["redis"].process)
        self.addCleanup(rules.close)
        rules.check(self, self.password)
        for name in ("worker-a", "coordinator"):
            running[name].until_probed("ready")
        body = json.dumps({"model": "reference", "prompt": "a story of many words " * 20, "max_tokens": 4}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{ports['api']}/v1/completions", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            self.assertEqual(json.load(answer)["usage"]["completion_tokens"], 4)
        deadline = time.monotonic() + 20
        while not re.match(":[1-9]", rules.say("DBSIZE")):
            self.assertLess(time.monotonic(), deadline, running["worker-a"].output()[-2000:])
            time.sleep(0.1)
        for name in ("coordinator", "worker-a", "redis"):
            self.assertEqual(running[name].stop(), 0, name)


if __name__ == "__main__":
    unittest.main()
