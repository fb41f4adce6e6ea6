#!/usr/bin/env python3
"""Makes report.json and report.md of what tests/gpu/run.sh ran: one row a part, the benchmark's table, what was skipped."""
import argparse
import datetime
import json
import pathlib
import re
import subprocess

ORDER = ["configure", "build_device", "build_engine", "build_tests", "device_laws", "device_model", "bench", "memcheck", "racecheck", "conformance",
         "host_logic", "model"]


def commit():
    done = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown (no git here)"


def tests_of(log):
    passed = re.search(r"\[  PASSED  \] (\d+) test", log)
    failed = re.findall(r"^\[  FAILED  \] (\S+)(?:,| \()", log, re.M)
    skipped = sorted(set(re.findall(r"^\[  SKIPPED \] (\S+) \(", log, re.M)))
    return int(passed.group(1)) if passed else 0, sorted(set(failed)), skipped


def read_part(parts, name):
    status_file, log_file = parts / f"{name}.status", parts / f"{name}.log"
    text = status_file.read_text().strip() if status_file.exists() else "not run: unknown"
    log = log_file.read_text(errors="replace") if log_file.exists() else ""
    part = {"name": name}
    if text.startswith("not run"):
        part["result"] = text
        return part
    status, seconds = text.split()
    passed, failed, skipped = tests_of(log)
    part.update(result="ok" if status == "0" else "over its time" if status == "124" else f"failed ({status})",
                seconds=int(seconds))
    if passed or failed:
        part.update(passed=passed, failed=failed, skipped=skipped)
    part["notes"] = re.findall(r"^(?:SKIPPED .*|greedy tokens: .*|.*ERROR SUMMARY.*|.*RACECHECK SUMMARY.*)$", log, re.M)
    if name == "bench":
        part["rows"] = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    if name.startswith("build_"):
        steps = re.findall(r"^\[ *(\d+)(?:/(\d+)|%)\]", log, re.M)  # ninja's [n/m], make's [ n%]
        if steps:
            part["notes"].append(f"step {steps[-1][0]} of {steps[-1][1]}" if steps[-1][1] else f"{steps[-1][0]} %")
        if status == "124":
            part["notes"].append("cut off: the next run goes on from here")
    if status != "0":
        part["tail"] = log[-1500:]
    return part


def markdown(report):
    lines = [f"# GPU run of {report['date']}", "", f"Commit {report['commit']}, GPU: {report['gpu']}, {report['seconds']} s in all.", "",
             "| part | result | seconds | tests | notes |", "| --- | --- | --- | --- | --- |"]
    for part in report["parts"]:
        tests = f"{part['passed']} passed, {len(part['failed'])} failed, {len(part['skipped'])} skipped" if "passed" in part else ""
        lines.append(f"| {part['name']} | {part['result']} | {part.get('seconds', '')} | {tests} | {'; '.join(part.get('notes', []))} |")
    for part in report["parts"]:
        for name in part.get("failed", []):
            lines.append(f"- failed: {part['name']}: {name}")
        if part.get("rows"):
            names = list(part["rows"][0])
            lines += ["", "| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
            lines += ["| " + " | ".join(str(row.get(n, "")) for n in names) + " |" for row in part["rows"]]
        if "tail" in part:
            lines += ["", f"{part['name']} ended with:", "```", part["tail"].strip(), "```"]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--parts", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--gpu", required=True)
    parser.add_argument("--seconds", type=int, required=True)
    given = parser.parse_args()
    report = {"date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"), "commit": commit(),
              "gpu": given.gpu, "seconds": given.seconds, "parts": [read_part(given.parts, name) for name in ORDER]}
    (given.out / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    (given.out / "report.md").write_text(markdown(report))
    bad = [p["name"] for p in report["parts"] if p["result"].startswith(("failed", "over"))]
    print(f"report: {given.out}/report.md" + (f"; not well: {', '.join(bad)}" if bad else ""))
    raise SystemExit(1 if bad else 0)


if __name__ == "__main__":
    main()
