#!/usr/bin/env python3
"""Runs the test programs that CTest knows and the *_test.py of SCRIPT_FOLDERS, and counts their cases.

Last line of the output, alone: `N passed, N failed, N skipped`. Exit status 0 only if nothing failed and something ran.
A GoogleTest program counts with its cases, unittest scripts with theirs, anything else as one case (exit status 77 = skipped,
the last line of its output being the reason). What is skipped is printed with its reason.
Labels: CTest's LABELS; a Python test names its own in a line `# labels: slow` among its first 30. Without --full, tests
labelled slow, soak or sanitizer are left out (not counted as skipped).
"""
import argparse
import concurrent.futures
import glob
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LEFT_OUT = {"slow", "soak", "sanitizer"}
SANITIZED_PATIENCE = 5  # sanitizers make the kernels that many times slower and more
PYTHON_TIMEOUT_S = {"quick": 300, "slow": 1800}
SCRIPT_FOLDERS = ("tests/integration", "deploy/docker/tests", "deploy/helm/tests", "monitoring/tests")
SHOWN_LINES = 60  # of a failed program's output


class Outcome:
    def __init__(self, name):
        self.name, self.passed, self.failed, self.seconds = name, 0, [], 0.0
        self.skipped = []  # (case, reason)
        self.output = ""

    def ok(self):
        return not self.failed


def run_bounded(command, cwd, env, timeout_s):
    """Runs in an own session, so that what the test started dies with it. Returns (status or None on timeout, output)."""
    with tempfile.TemporaryFile() as sink:
        process = subprocess.Popen(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink,
                                   start_new_session=True)
        try:
            status = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            status = None
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
        sink.seek(0)
        return status, sink.read().decode("utf-8", "replace")


def skip_reasons(output):
    """{case: reason} from what the program printed: GoogleTest 1.12 leaves the reasons out of its report."""
    found = re.findall(r": Skipped\n(.*?)\n+\[  SKIPPED \] ([^\s,]+)", output, re.S)
    return {case: " ".join(reason.split()) for reason, case in found}


def read_gtest_reports(folder, outcome):
    """Every rank of an MPI test writes a report: a case passed if it passed in all, and counts once."""
    cases = {}
    reasons = skip_reasons(outcome.output)
    for path in glob.glob(os.path.join(folder, "*.json")):
        try:
            with open(path) as file:
                report = json.load(file)
        except ValueError:
            continue
        for suite in report.get("testsuites", []):
            for case in suite.get("testsuite", []):
                name = f"{suite['name']}.{case['name']}"
                if "value_param" in case:
                    name += f" ({case['value_param']})"[:80]
                state = "passed"
                if case.get("failures"):
                    state = "failed"
                elif case.get("result") == "SKIPPED":
                    messages = [s.get("message", "") for s in case.get("skipped", [])]
                    told = reasons.get(f"{suite['name']}.{case['name']}", "")
                    state = ("skipped", " ".join(messages).strip().replace("\n", " ") or told)
                elif case.get("status") == "NOTRUN":
                    state = ("skipped", "disabled")
                if cases.get(name) != "failed" and not (cases.get(name) == "passed" and isinstance(state, tuple)):
                    cases[name] = state
    for name, state in cases.items():
        if state == "passed":
            outcome.passed += 1
        elif state == "failed":
            outcome.failed.append(name)
        else:
            outcome.skipped.append((name, state[1]))
    return bool(cases)


def last_line(text):
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""


def judge_plain(status, outcome):
    if status == 0:
        outcome.passed += 1
    elif status == 77:
        outcome.skipped.append((outcome.name, last_line(outcome.output)))
    else:
        outcome.failed.append("no answer in time" if status is None else f"exit status {status}")


def sanitizer_environment():
    """What the libraries of Open MPI do on their own is not reported; each line of the files has its reason."""
    folder = os.path.join(ROOT, ".ci/sanitizer")
    return {"LSAN_OPTIONS": f"suppressions={folder}/leaks.supp:print_suppressions=0",
            "TSAN_OPTIONS": f"suppressions={folder}/threads.supp:ignore_noninstrumented_modules=1:print_suppressions=0",
            "UBSAN_OPTIONS": "print_stacktrace=1"}


def run_program(test, prefix=""):
    outcome = Outcome(prefix + test["name"])
    properties = {p["name"]: p["value"] for p in test.get("properties", [])}
    with tempfile.TemporaryDirectory() as folder:
        env = dict(os.environ, GTEST_OUTPUT=f"json:{folder}/", OMPI_ALLOW_RUN_AS_ROOT="1",
                   OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
        env.update(sanitizer_environment() if prefix else {})
        for pair in properties.get("ENVIRONMENT", []):
            key, _, value = pair.partition("=")
            env[key] = value
        begin = time.monotonic()
        patience = float(properties.get("TIMEOUT", 600)) * (SANITIZED_PATIENCE if prefix else 1)
        status, outcome.output = run_bounded(test["command"], properties.get("WORKING_DIRECTORY", ROOT), env, patience)
        outcome.seconds = time.monotonic() - begin
        if not read_gtest_reports(folder, outcome):
            judge_plain(status, outcome)
        elif status != 0 and not outcome.failed:
            outcome.failed.append("no answer in time" if status is None else f"exit status {status}")
    return outcome


def labels_of_script(path):
    with open(path) as file:
        for line in [next(file, "") for _ in range(30)]:
            match = re.match(r"#\s*labels:\s*(.*)", line)
            if match:
                return set(match.group(1).split())
    return set()


def run_script(path, build):
    outcome = Outcome(os.path.relpath(path, ROOT))
    env = dict(os.environ, LEADLINE_BUILD_DIR=build, PYTHONUNBUFFERED="1", OMPI_ALLOW_RUN_AS_ROOT="1",
               OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    slow = labels_of_script(path) & LEFT_OUT
    begin = time.monotonic()
    status, outcome.output = run_bounded([sys.executable, path, "-v"], ROOT, env,
                                         PYTHON_TIMEOUT_S["slow" if slow else "quick"])
    outcome.seconds = time.monotonic() - begin
    if not re.search(r"^Ran \d+ tests? in", outcome.output, re.M):
        judge_plain(status, outcome)
        return outcome
    total = int(re.search(r"^Ran (\d+) tests? in", outcome.output, re.M).group(1))
    for match in re.finditer(r"^(?:FAIL|ERROR): (\S+)", outcome.output, re.M):
        outcome.failed.append(match.group(1))
    for match in re.finditer(r"^(\w+) \([^\n]*\)(?:\n[^\n]*)? \.\.\. [^\n]*?skipped ['\"]([^\n]*)['\"]$", outcome.output, re.M):
        outcome.skipped.append((match.group(1), match.group(2)))
    summary = re.findall(r"^(?:OK|FAILED)(?: \((.*)\))?$", outcome.output, re.M)
    counts = dict(re.findall(r"(\w+)=(\d+)", summary[-1] if summary else ""))
    skipped = int(counts.get("skipped", 0))
    while len(outcome.skipped) < skipped:
        outcome.skipped.append((outcome.name, "a whole class, see its output"))
    del outcome.skipped[skipped:]
    outcome.passed = max(0, total - len(outcome.failed) - skipped)
    if status != 0 and not outcome.failed:
        outcome.failed.append("no answer in time" if status is None else f"exit status {status}")
    return outcome


def ctest_list(build):
    listing = subprocess.run(["ctest", "--show-only=json-v1"], cwd=build, capture_output=True, text=True, check=True)
    return json.loads(listing.stdout)["tests"]


def labels_of(test):
    for entry in test.get("properties", []):
        if entry["name"] == "LABELS":
            return {label for value in entry["value"] for label in value.split(";") if label}
    return set()


def is_serial(test):
    names = {p["name"] for p in test.get("properties", [])}
    return "RUN_SERIAL" in names or "mpirun" in os.path.basename(test["command"][0])


def report(outcome):
    word = "ok    " if outcome.ok() else "FAILED"
    note = f", {len(outcome.skipped)} skipped" if outcome.skipped else ""
    print(f"{word} {outcome.name}: {outcome.passed} passed, {len(outcome.failed)} failed{note} "
          f"({outcome.seconds:.1f} s)", flush=True)
    for case, reason in outcome.skipped:
        print(f"       skipped {case}: {reason or 'no reason given'}", flush=True)
    if not outcome.ok():
        for case in outcome.failed:
            print(f"       failed {case}")
        lines = outcome.output.splitlines()
        print("\n".join("       | " + line for line in lines[-SHOWN_LINES:]), flush=True)
    return outcome


def run_all(options):
    tests = [t for t in ctest_list(options.build) if t.get("command")]
    scripts = sorted(path for folder in SCRIPT_FOLDERS for path in glob.glob(os.path.join(ROOT, folder, "*_test.py")))
    if not options.full:
        tests = [t for t in tests if not labels_of(t) & LEFT_OUT]
        scripts = [s for s in scripts if not labels_of_script(s) & LEFT_OUT]
    if options.only:
        tests = [t for t in tests if re.search(options.only, t["name"])]
        scripts = [s for s in scripts if re.search(options.only, s)]
    outcomes = []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for outcome in pool.map(run_program, [t for t in tests if not is_serial(t)]):
            outcomes.append(report(outcome))
    for test in [t for t in tests if is_serial(t)]:
        outcomes.append(report(run_program(test)))
    for script in scripts:
        outcomes.append(report(run_script(script, options.build)))
    if options.full:
        for mode in ("asan", "tsan"):
            folder = os.path.join(ROOT, "build", mode)
            for test in [t for t in ctest_list(folder) if t.get("command") and not labels_of(t) & LEFT_OUT]:
                outcomes.append(report(run_program(test, f"{mode}/")))
    return outcomes


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(ROOT, "build/release"))
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only", metavar="REGEX", help="run only tests whose name matches")
    options = parser.parse_args()
    outcomes = run_all(options)
    passed = sum(o.passed for o in outcomes)
    failed = sum(len(o.failed) for o in outcomes)
    skipped = sum(len(o.skipped) for o in outcomes)
    bad = [o.name for o in outcomes if not o.ok()]
    if bad:
        print("failed: " + ", ".join(bad))
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 0 if failed == 0 and passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
