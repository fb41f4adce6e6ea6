"""What the tests of the chart share: the tools, `helm template` with a cache, and questions about rendered objects.

The tools (helm, kubectl, kube-score; see ../shared/tools/README.md) are looked for beside the checkout; LEADLINE_TOOLS names another
folder. Without them the tests skip with that reason.
"""
import functools
import glob
import os
import subprocess

import yaml

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
CHART = os.path.join(ROOT, "deploy/helm/leadline")
EXAMPLES = os.path.join(ROOT, "deploy/helm/examples")
VALUES = {os.path.basename(path)[len("values-"):-len(".yaml")]: path for path in sorted(glob.glob(EXAMPLES + "/values-*.yaml"))}
RELEASE, NAMESPACE, NAME = "demo", "serving", "demo-leadline"


@functools.lru_cache(maxsize=1)
def tools():
    """Folder of the programs, or None."""
    beside = [os.environ.get("LEADLINE_TOOLS", "")]
    folder = ROOT
    while folder != "/":
        folder = os.path.dirname(folder)
        beside.append(os.path.join(folder, "shared/tools"))
    for candidate in beside:
        script = os.path.join(candidate, "unpack")
        if candidate and os.access(script, os.X_OK):
            done = subprocess.run([script], capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return done.stdout.strip()
    return None


def tools_source():
    folder = ROOT
    while folder != "/":
        folder = os.path.dirname(folder)
        if os.path.exists(os.path.join(folder, "shared/tools/start-cluster")):
            return os.path.join(folder, "shared/tools")
    return os.environ.get("LEADLINE_TOOLS")


def unavailable():
    return None if tools() else "no helm: ../shared/tools is not beside the checkout (LEADLINE_TOOLS names another folder)"


def program(name):
    return os.path.join(tools(), name)


def helm(*arguments, env=None, timeout=120):
    return subprocess.run([program("helm"), *arguments], capture_output=True, text=True, check=False, timeout=timeout, env=env)


def render_text(example=None, *settings):
    """The manifest of an example (None: the defaults) with further `--set-json` settings."""
    arguments = ["template", RELEASE, CHART, "--namespace", NAMESPACE]
    if example:
        arguments += ["-f", VALUES[example]]
    for setting in settings:
        arguments += ["--set-json", setting]
    return helm(*arguments)


@functools.lru_cache(maxsize=64)
def render(example=None, *settings):
    """{(kind, name): object}"""
    done = render_text(example, *settings)
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    objects = [entry for entry in yaml.safe_load_all(done.stdout) if entry]
    named = {(entry["kind"], entry["metadata"]["name"]): entry for entry in objects}
    if len(named) != len(objects):
        raise AssertionError("two objects of one kind and name")
    return named


def pods(objects):
    """(owner, pod template) of everything that makes pods."""
    for (kind, name), entry in objects.items():
        if kind in ("Deployment", "StatefulSet", "Job"):
            yield f"{kind}/{name}", entry["spec"]["template"]
        elif kind == "CronJob":
            yield f"{kind}/{name}", entry["spec"]["jobTemplate"]["spec"]["template"]
        elif kind == "LeaderWorkerSet":
            for role in ("leaderTemplate", "workerTemplate"):
                yield f"{kind}/{name}/{role}", entry["spec"]["leaderWorkerTemplate"][role]


def container_of(template, name):
    return next(c for c in template["spec"]["containers"] if c["name"] == name)


def flags(container):
    """{flag: value} of `--flag=value` arguments; a flag without a value is True."""
    result = {}
    for argument in container["args"]:
        flag, equals, value = argument.partition("=")
        result[flag] = value if equals else True
    return result
