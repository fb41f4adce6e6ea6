"""One test per template of the chart, over `helm template`; the last class checks that no template lacks one."""
import base64
import os
import re
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from chart import CHART, NAME, VALUES, container_of, flags, pods, render, unavailable  # noqa: E402

CPU, GPU, LWS, OFF = "laptop-cpu", "gpu-tp2", "two-node-tp16", "everything-off"


@unittest.skipIf(unavailable(), unavailable())
class Templates(unittest.TestCase):
    maxDiff = None

    def coordinator(self, *which):
        return render(*which)[("Deployment", f"{NAME}-coordinator")]["spec"]

    def worker(self, *which):
        return render(*which)[("StatefulSet", f"{NAME}-worker")]["spec"]

    def present(self, kind, name, on, off=OFF):
        self.assertNotIn((kind, name), render(off))
        return render(on)[(kind, name)]

    def test_helpers(self):
        for example in VALUES:
            for owner, template in pods(render(example)):
                spec = template["spec"]
                self.assertFalse(spec["automountServiceAccountToken"], owner)
                self.assertTrue(spec["securityContext"]["runAsNonRoot"], owner)
                self.assertEqual(spec["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
                for container in spec["containers"] + spec.get("initContainers", []):
                    security = container["securityContext"]
                    self.assertTrue(security["readOnlyRootFilesystem"], owner)
                    self.assertFalse(security["allowPrivilegeEscalation"], owner)
                    self.assertEqual(security["capabilities"], {"drop": ["ALL"]}, owner)
                    self.assertRegex(container["image"], r"(:[^:/]+|@sha256:[0-9a-f]{64})$")
                    self.assertNotRegex(container["image"], r":latest$")
                    self.assertIn("limits", container["resources"])
                for volume in spec.get("volumes", []):
                    self.assertNotIn("hostNetwork", spec)
                    if volume["name"] == "shm":
                        self.assertEqual(volume["emptyDir"]["medium"], "Memory")

    def test_coordinator_deployment(self):
        spec = self.coordinator(None, "coordinator.drainMs=61000", "coordinator.preStopSeconds=7")
        pod = spec["template"]["spec"]
        container = container_of(spec["template"], "coordinator")
        self.assertEqual(spec["replicas"], 2)
        # preStop 7, drain 61, 2 for goodbyes, a quarter of the drain as margin
        self.assertEqual(pod["terminationGracePeriodSeconds"], 7 + 61 + 2 + 15)
        self.assertEqual(container["lifecycle"]["preStop"], {"sleep": {"seconds": 7}})
        self.assertEqual(flags(container)["--drain-ms"], "61000")
        self.assertEqual(flags(container)["--workers-dns"], f"{NAME}-workers.serving.svc:7100")
        paths = [container[p]["httpGet"]["path"] for p in ("startupProbe", "readinessProbe", "livenessProbe")]
        self.assertEqual(paths, ["/startupz", "/readyz", "/livez"])
        self.assertNotIn("--api-key-file", flags(container))
        secured = container_of(self.coordinator(GPU)["template"], "coordinator")
        self.assertEqual(flags(secured)["--api-key-file"], "/etc/leadline/api-keys/api-keys")
        self.assertEqual(flags(secured)["--tls-cert"], "/etc/leadline/tls/tls.crt")
        self.assertNotIn("replicas", self.coordinator(GPU))  # the autoscaler's
        self.assertEqual(flags(container_of(self.coordinator(None, "coordinator.maxBodyBytes=67108864")["template"],
                                            "coordinator"))["--max-body-bytes"], "67108864")  # not 6.71e+07

    def test_worker_pod(self):
        template = self.worker(GPU)["template"]
        container = container_of(template, "worker")
        self.assertEqual(container["command"], ["/usr/local/bin/leadline-ranks"])
        self.assertEqual(container["resources"]["limits"]["nvidia.com/gpu"], "2")
        self.assertEqual(container["resources"]["requests"]["nvidia.com/gpu"], "2")
        self.assertEqual({e["name"]: e.get("value") for e in container["env"]}["LEADLINE_RANKS_PER_NODE"], "2")
        self.assertEqual(container["startupProbe"]["periodSeconds"] * container["startupProbe"]["failureThreshold"], 1800)
        self.assertEqual([v["emptyDir"] for v in template["spec"]["volumes"] if v["name"] == "shm"],
                         [{"medium": "Memory", "sizeLimit": "8Gi"}])
        fetch = template["spec"]["initContainers"][0]
        self.assertIn("fetch-checkpoint", fetch["args"][0])
        self.assertEqual({e["name"]: e.get("value") for e in fetch["env"]}["ROLE"], "worker")
        self.assertIn("--no-prefix-cache", flags(container_of(self.worker(OFF)["template"], "worker")))
        self.assertEqual(template["spec"]["terminationGracePeriodSeconds"], 30 + 2 + 7)

    def test_worker_statefulset(self):
        spec = self.worker(CPU)
        self.assertEqual((spec["replicas"], spec["podManagementPolicy"], spec["serviceName"]), (1, "Parallel", f"{NAME}-workers"))
        self.assertNotIn("replicas", self.worker(GPU))
        self.assertNotIn(("StatefulSet", f"{NAME}-worker"), render(LWS))

    def test_worker_leaderworkerset(self):
        spec = render(LWS)[("LeaderWorkerSet", f"{NAME}-worker")]["spec"]
        group = spec["leaderWorkerTemplate"]
        self.assertEqual((group["size"], group["restartPolicy"]), (2, "RecreateGroupOnPodRestart"))
        leader, follower = (container_of(group[t], "worker") for t in ("leaderTemplate", "workerTemplate"))
        self.assertIn("livenessProbe", leader)
        self.assertFalse([key for key in follower if key.endswith("Probe")])  # a follower has no admin port
        for container in (leader, follower):
            self.assertEqual(container["args"], leader["args"])
            token = next(e for e in container["env"] if e["name"] == "LEADLINE_GROUP_TOKEN")
            self.assertEqual(token["valueFrom"]["secretKeyRef"]["name"], "leadline-control")
            self.assertEqual(container["resources"]["limits"]["nvidia.com/gpu"], "8")

    def test_workers_service(self):
        spec = render(CPU)[("Service", f"{NAME}-workers")]["spec"]
        self.assertEqual((spec["clusterIP"], spec["publishNotReadyAddresses"]), ("None", True))
        # Only leaders listen.
        self.assertEqual(render(LWS)[("Service", f"{NAME}-workers")]["spec"]["selector"]["leaderworkerset.sigs.k8s.io/worker-index"], "0")

    def test_coordinator_service(self):
        self.assertEqual(render(CPU)[("Service", NAME)]["spec"]["ports"], [{"name": "http", "port": 8000, "targetPort": "api"}])
        self.assertEqual(render(GPU)[("Service", NAME)]["spec"]["ports"][0]["name"], "https")

    def test_coordinator_admin_service(self):
        spec = self.present("Service", f"{NAME}-admin", GPU)["spec"]
        self.assertEqual(spec["ports"][0]["port"], 9000)
        self.assertNotIn("admin", [p["targetPort"] for p in render(GPU)[("Service", NAME)]["spec"]["ports"]])

    def test_coordinator_hpa(self):
        spec = self.present("HorizontalPodAutoscaler", f"{NAME}-coordinator", GPU)["spec"]
        self.assertEqual((spec["minReplicas"], spec["maxReplicas"]), (2, 6))
        self.assertEqual(spec["scaleTargetRef"]["name"], f"{NAME}-coordinator")

    def test_worker_hpa(self):
        spec = self.present("HorizontalPodAutoscaler", f"{NAME}-worker", LWS)["spec"]
        self.assertEqual(spec["scaleTargetRef"]["kind"], "LeaderWorkerSet")
        self.assertEqual(spec["metrics"][0]["external"]["metric"]["name"], "leadline_requests_waiting")
        self.assertNotIn(("HorizontalPodAutoscaler", f"{NAME}-worker"), render(GPU))

    def test_worker_scaledobject(self):
        spec = self.present("ScaledObject", f"{NAME}-worker", GPU)["spec"]
        self.assertEqual((spec["minReplicaCount"], spec["maxReplicaCount"], spec["scaleTargetRef"]["kind"]), (2, 8, "StatefulSet"))
        self.assertIn('leadline_requests_waiting{namespace="serving"}', spec["triggers"][0]["metadata"]["query"])

    def test_coordinator_pdb(self):
        spec = self.present("PodDisruptionBudget", f"{NAME}-coordinator", GPU)["spec"]
        self.assertEqual(spec["maxUnavailable"], 1)
        self.assertEqual(spec["selector"], self.coordinator(GPU)["selector"])

    def test_worker_pdb(self):
        spec = self.present("PodDisruptionBudget", f"{NAME}-worker", GPU)["spec"]
        self.assertEqual(spec["selector"], self.worker(GPU)["selector"])

    def test_coordinator_serviceaccount(self):
        for example in VALUES:
            accounts = {name for kind, name in render(example) if kind == "ServiceAccount"}
            named = {template["spec"]["serviceAccountName"] for _, template in pods(render(example))}
            self.assertEqual(named, accounts)  # simulated nodes run pods of missing accounts, real ones do not
            self.assertFalse([k for k, _ in render(example) if k in ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")])

    def test_worker_serviceaccount(self):
        self.assertFalse(render(CPU)[("ServiceAccount", f"{NAME}-worker")]["automountServiceAccountToken"])

    def test_control_secret(self):
        made = render()[("Secret", f"{NAME}-control")]["data"]["secret"]
        self.assertEqual(len(made), 64)  # base64 of 48 characters
        self.assertNotIn(("Secret", f"{NAME}-control"), render(GPU))
        volume = next(v for v in self.worker(GPU)["template"]["spec"]["volumes"] if v["name"] == "control")
        self.assertEqual(volume["secret"]["secretName"], "leadline-control")

    def test_api_keys_secret(self):
        objects = render(CPU, 'apiKeys.values={"team-a":"key-of-team-a","team-b":"key-of-team-b"}')
        self.assertEqual(objects[("Secret", f"{NAME}-api-keys")]["stringData"]["api-keys"],
                         "team-a:key-of-team-a\nteam-b:key-of-team-b\n")
        self.assertNotIn(("Secret", f"{NAME}-api-keys"), render(CPU))
        self.assertNotIn(("Secret", f"{NAME}-api-keys"), render(GPU))

    def test_model_pvc(self):
        claim = self.present("PersistentVolumeClaim", f"{NAME}-model", GPU)
        self.assertEqual(claim["metadata"]["annotations"]["helm.sh/resource-policy"], "keep")
        self.assertEqual(claim["spec"]["resources"]["requests"]["storage"], "32Gi")
        for which, mount in ((GPU, "persistentVolumeClaim"), (OFF, "hostPath")):
            for spec in (self.worker(which), self.coordinator(which)):
                self.assertIn(mount, next(v for v in spec["template"]["spec"]["volumes"] if v["name"] == "models"))

    def test_priorityclass(self):
        self.assertEqual(self.present("PriorityClass", NAME, GPU)["value"], 100000)
        self.assertEqual(self.worker(GPU)["template"]["spec"]["priorityClassName"], NAME)
        self.assertNotIn("priorityClassName", self.worker(CPU)["template"]["spec"])

    def policy(self, name, example):
        return render(example)[("NetworkPolicy", f"{NAME}-{name}")]["spec"]

    def test_networkpolicy_default_deny(self):
        spec = self.policy("default-deny", CPU)
        self.assertEqual(spec["policyTypes"], ["Ingress", "Egress"])
        self.assertNotIn("ingress", spec)
        self.assertEqual({p["port"] for rule in spec["egress"] for p in rule["ports"]}, {53})
        for _, template in pods(render(CPU)):
            self.assertTrue(spec["podSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items())
        self.assertFalse([name for kind, name in render(OFF) if kind == "NetworkPolicy"])

    def test_networkpolicy_coordinator(self):
        spec = self.policy("coordinator", GPU)
        ports = [[p["port"] for p in rule["ports"]] for rule in spec["ingress"]]
        self.assertEqual(ports, [["api"], ["api"], ["admin"]])
        self.assertEqual(spec["ingress"][0]["from"], [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}])
        self.assertEqual([p["port"] for p in spec["egress"][0]["ports"]], ["control"])
        self.assertEqual(spec["egress"][1]["ports"][0]["port"], 443)

    def test_networkpolicy_worker(self):
        spec = self.policy("worker", CPU)
        self.assertEqual([[p["port"] for p in rule["ports"]] for rule in spec["ingress"]], [["control"], ["admin"]])
        self.assertEqual(spec["egress"], [])
        group = self.policy("worker", LWS)
        self.assertNotIn("ports", group["ingress"][1])  # NCCL chooses its ports
        redis = [rule["to"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for rule in group["egress"]]
        self.assertEqual(redis, ["worker", "redis"])
        self.assertEqual(self.policy("worker", GPU)["egress"][0]["to"][0]["ipBlock"]["cidr"], "10.20.0.0/16")

    def test_networkpolicy_redis(self):
        spec = self.policy("redis", LWS)
        self.assertEqual(spec["egress"], [])
        [rule] = spec["ingress"]
        worker = render(LWS)[("LeaderWorkerSet", f"{NAME}-worker")]["spec"]["leaderWorkerTemplate"]["workerTemplate"]
        self.assertTrue(rule["from"][0]["podSelector"]["matchLabels"].items() <= worker["metadata"]["labels"].items())
        self.assertNotIn(("NetworkPolicy", f"{NAME}-redis"), render(GPU))

    def test_redis_secret(self):
        data = self.present("Secret", f"{NAME}-redis", LWS)["data"]
        url, rules = (base64.b64decode(data[key]).decode() for key in ("url", "users.acl"))
        self.assertEqual(url, f"redis://default:rendered0without0a0cluster@{NAME}-redis.serving.svc:6379/0")
        self.assertIn(">rendered0without0a0cluster ", rules)
        made = render(CPU, 'redis.mode="bundled"')[("Secret", f"{NAME}-redis")]["data"]
        self.assertEqual(len(base64.b64decode(made["password"])), 32)
        self.assertIn(base64.b64decode(made["password"]), base64.b64decode(made["url"]))

    def test_redis_statefulset(self):
        self.assertNotIn(("StatefulSet", f"{NAME}-redis"), render(GPU))  # an external one
        container = container_of(render(LWS)[("StatefulSet", f"{NAME}-redis")]["spec"]["template"], "redis")
        self.assertEqual(container["args"][container["args"].index("--maxmemory") + 1], "32gb")
        worker = container_of(self.worker(GPU)["template"], "worker")
        self.assertEqual(flags(worker)["--kv-redis"], "@/etc/leadline/redis/url")
        self.assertEqual(flags(worker)["--kv-disk-bytes"], "200GiB")
        volumes = {v["name"]: v for v in self.worker(GPU)["template"]["spec"]["volumes"]}
        self.assertEqual(volumes["redis"]["secret"]["secretName"], "leadline-redis")
        self.assertEqual(volumes["kv"]["emptyDir"]["sizeLimit"], "200Gi")
        self.assertNotIn("--kv-redis", flags(container_of(self.worker(CPU)["template"], "worker")))

    def test_redis_service(self):
        spec = self.present("Service", f"{NAME}-redis", LWS)["spec"]
        labels = render(LWS)[("StatefulSet", f"{NAME}-redis")]["spec"]["template"]["metadata"]["labels"]
        self.assertTrue(spec["selector"].items() <= labels.items())

    def test_redis_serviceaccount(self):
        self.assertFalse(self.present("ServiceAccount", f"{NAME}-redis", LWS)["automountServiceAccountToken"])

    def test_policy_trainer_cronjob(self):
        spec = self.present("CronJob", f"{NAME}-policy-trainer", GPU)["spec"]
        job = spec["jobTemplate"]["spec"]
        self.assertEqual((spec["concurrencyPolicy"], job["backoffLimit"], job["activeDeadlineSeconds"]), ("Forbid", 1, 14400))
        self.assertEqual(job["template"]["spec"]["restartPolicy"], "Never")  # no loop of crashes
        trainer, worker = container_of(job["template"], "trainer"), container_of(self.worker(GPU)["template"], "worker")
        env = {e["name"]: e["value"] for e in trainer["env"]}
        self.assertEqual(env["LEADLINE_WORKERS"], f"{NAME}-workers.serving.svc:9000")
        # Logs and policy meet in one claim, at the same paths in both: what is put is a path that workers read.
        self.assertEqual(flags(worker)["--policy-file"], env["LEADLINE_POLICY_DIR"] + "/exit_policy.llp")
        self.assertEqual(flags(worker)["--experience"], env["LEADLINE_POLICY_DIR"] + "/experience/$(POD_NAME)")
        self.assertEqual((flags(worker)["--explore"], flags(worker)["--speculation"]), ("0.05", "threshold:8,6,0.6"))
        for template, container in ((job["template"], trainer), (self.worker(GPU)["template"], worker)):
            self.assertIn({"name": "policy", "mountPath": env["LEADLINE_POLICY_DIR"]}, container["volumeMounts"])
            self.assertIn({"name": "policy", "persistentVolumeClaim": {"claimName": f"{NAME}-policy"}}, template["spec"]["volumes"])
        self.assertNotIn("--experience", flags(container_of(self.worker(CPU)["template"], "worker")))

    def test_policy_pvc(self):
        claim = self.present("PersistentVolumeClaim", f"{NAME}-policy", GPU)
        self.assertEqual(claim["metadata"]["annotations"]["helm.sh/resource-policy"], "keep")
        own = render(GPU, 'policyTrainer.volume.existingClaim="mine"')
        self.assertNotIn(("PersistentVolumeClaim", f"{NAME}-policy"), own)
        volumes = own[("StatefulSet", f"{NAME}-worker")]["spec"]["template"]["spec"]["volumes"]
        self.assertIn({"name": "policy", "persistentVolumeClaim": {"claimName": "mine"}}, volumes)

    def test_policy_trainer_serviceaccount(self):
        self.assertFalse(self.present("ServiceAccount", f"{NAME}-policy-trainer", GPU)["automountServiceAccountToken"])

    def test_networkpolicy_policy_trainer(self):
        [rule] = self.present("NetworkPolicy", f"{NAME}-policy-trainer", GPU)["spec"]["egress"]
        self.assertEqual([p["port"] for p in rule["ports"]], ["admin"])
        openings = [(one["from"][0], one["ports"][0]["port"]) for one in self.policy("worker", GPU)["ingress"]]
        trainer = {"podSelector": {"matchLabels": {**rule["to"][0]["podSelector"]["matchLabels"],
                                                   "app.kubernetes.io/component": "policy-trainer"}}}
        self.assertIn((trainer, "admin"), openings)

    def test_networkpolicy_test(self):
        spec = self.policy("test", CPU)
        job = render(CPU)[("Job", f"{NAME}-test")]["spec"]["template"]["metadata"]["labels"]
        self.assertTrue(spec["podSelector"]["matchLabels"].items() <= job.items())

    def test_coordinator_servicemonitor(self):
        monitor = self.present("ServiceMonitor", f"{NAME}-coordinator", GPU)
        service = render(GPU)[("Service", f"{NAME}-admin")]
        self.assertTrue(monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items())
        self.assertEqual(monitor["spec"]["endpoints"][0]["port"], service["spec"]["ports"][0]["name"])
        self.assertEqual(monitor["metadata"]["labels"]["release"], "prometheus")

    def test_worker_podmonitor(self):
        spec = self.present("PodMonitor", f"{NAME}-worker", LWS)["spec"]
        self.assertEqual(spec["selector"]["matchLabels"]["leaderworkerset.sigs.k8s.io/worker-index"], "0")
        self.assertEqual(spec["podMetricsEndpoints"][0]["port"], "admin")

    def test_prometheusrule(self):
        self.assertIn("groups", self.present("PrometheusRule", NAME, GPU)["spec"])

    def test_dashboards_configmap(self):
        self.assertEqual(self.present("ConfigMap", f"{NAME}-dashboards", GPU)["metadata"]["labels"]["grafana_dashboard"], "1")

    def test_tests_question_job(self):
        job = self.present("Job", f"{NAME}-test", GPU)
        self.assertEqual(job["metadata"]["annotations"]["helm.sh/hook"], "test")
        env = {e["name"]: e["value"] for e in container_of(job["spec"]["template"], "question")["env"]}
        self.assertEqual((env["URL"], env["INSECURE"]), (f"https://{NAME}.serving.svc:8000", "--insecure"))
        self.assertEqual(env["KEY_FILE"], "/etc/leadline/api-keys/api-keys")

    def test_every_template_has_a_test(self):
        folder = os.path.join(CHART, "templates")
        for path in sorted(os.path.relpath(os.path.join(d, f), folder) for d, _, names in os.walk(folder) for f in names):
            if path == "NOTES.txt":
                continue
            name = "test_" + re.sub(r"[^a-z]+", "_", re.sub(r"\.(yaml|tpl)$", "", path).lower()).strip("_")
            self.assertTrue(hasattr(self, name), f"{path}: no {name}")


if __name__ == "__main__":
    unittest.main()
