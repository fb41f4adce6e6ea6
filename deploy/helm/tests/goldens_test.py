"""Rendered goldens of every example, schema refusals, generated files, kube-score. `--update` as the only argument writes the goldens."""
import os
import re
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from chart import CHART, EXAMPLES, ROOT, VALUES, helm, program, render_text, unavailable  # noqa: E402

REFUSED = {  # setting -> what the message names
    'worker.replicas="two"': "replicas",
    'worker.rankPerNode=2': "rankPerNode",
    'worker.nodes=2': "mode",
    'worker.mode="leaderworkerset"': "device",
    'worker.device="cuda"': "gpus",
    'worker.device="tpu"': "device",
    'images.worker.tag="latest"': "tag",
    'images.coordinator.digest="sha256:12"': "digest",
    'model.source="existingClaim"': "existingClaim",
    'model.source="hostPath"': "hostPath",
    'model.source="emptyDir"': "fetch",
    'model.fetch={"enabled":true,"image":"fetcher:latest","command":"x"}': "image",
    'model.fetch={"enabled":true,"image":"fetcher:1","command":""}': "command",
    'model.name="../x"': "name",
    'controlSecret.value="short"': "value",
    'apiKeys.values={"a":"has blank in it"}': "apiKeys",
    'coordinator.logLevel="trace"': "logLevel",
    'coordinator.service.port=70000': "port",
    'coordinator.autoscaling.targetCpuPercent=400': "targetCpuPercent",
    'worker.autoscaling.type="cpu"': "type",
    'redis.mode="cluster"': "mode",
    'redis.bundled.maxMemory="2 GB"': "maxMemory",
    'images.redis.tag="latest"': "tag",
    'speculation.policy="static"': "policy",
    'policyTrainer.explore=0': "explore",
    'policyTrainer.schedule="daily"': "schedule",
    'policyTrainer.volume.accessModes=["ReadOnlyMany"]': "accessModes",
    'images.trainer.tag="latest"': "tag",
    'kvStore.disk="64G"': "disk",
    'networkPolicy={"enabledd":true}': "enabledd",
}

# Critical findings of kube-score that stay, each with its reason.
WAIVED = {
    "ImagePullPolicy is not set to Always": "tags and digests are pinned and `latest` is refused: pulling at each start only adds a dependency",
}
WAIVED_IN = {
    "everything-off": {"The pod does not have a matching NetworkPolicy": "this example turns them off to show the smallest set"},
    "two-node-tp16": {
        "The HPA target does not match anything": "kube-score does not know LeaderWorkerSet",
        "The NetworkPolicys selector doesn't match any pods": "kube-score does not know LeaderWorkerSet",
        "The services selector does not match any pods": "kube-score does not know LeaderWorkerSet",
        "PodDisruptionBudget does not match": "kube-score does not know LeaderWorkerSet",
    },
}


def golden_path(example):
    return os.path.join(EXAMPLES, "rendered", example + ".yaml")


@unittest.skipIf(unavailable(), unavailable())
class Goldens(unittest.TestCase):
    maxDiff = 4000

    def test_examples_render_to_their_goldens(self):
        self.assertGreaterEqual(len(VALUES), 4)
        for example in VALUES:
            with self.subTest(example=example), open(golden_path(example)) as file:
                self.assertMultiLineEqual(render_text(example).stdout, file.read())

    def test_schema_refuses(self):
        for setting, named in REFUSED.items():
            with self.subTest(setting=setting):
                done = render_text(None, setting)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn("values don't meet the specifications of the schema", done.stderr)
                self.assertIn(named, done.stderr)

    def test_lint(self):
        for example, path in VALUES.items():
            done = helm("lint", "--strict", CHART, "-f", path)
            self.assertEqual(done.returncode, 0, f"{example}: {done.stdout}{done.stderr}")

    def test_generated_files(self):
        done = subprocess.run([sys.executable, os.path.join(ROOT, "deploy/helm/make_chart_files.py"), "--check"], capture_output=True,
                              text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_kube_score(self):
        for example in VALUES:
            with self.subTest(example=example):
                done = subprocess.run([program("kube-score"), "score", "--output-format", "ci", "-"], input=render_text(example).stdout,
                                      capture_output=True, text=True, check=False)
                self.assertIn("[OK]", done.stdout)
                waived = {**WAIVED, **WAIVED_IN.get(example, {})}
                left = [line for line in done.stdout.splitlines()
                        if line.startswith("[CRITICAL]") and not any(re.search(re.escape(w), line) for w in waived)]
                self.assertEqual(left, [])


if __name__ == "__main__":
    if sys.argv[1:] == ["--update"]:
        os.makedirs(os.path.join(EXAMPLES, "rendered"), exist_ok=True)
        for one in VALUES:
            with open(golden_path(one), "w") as out:
                out.write(render_text(one).stdout)
    else:
        unittest.main()
