#!/usr/bin/env python3
"""Boards, alerts and metrics agree: every metric in a query is in tests/golden/metrics_list with these labels and values, every exported
metric is on a board or waived with a reason, every panel asks one question, and promtool can read every query."""
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TARGET_LABELS = {"instance", "job", "namespace", "pod"}  # the scrape's own
METRIC = re.compile(r"\b(leadline_[a-z0-9_]+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'([a-z_]+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
GROUPING = re.compile(r"\b(?:by|ignoring|on|without)\s*\(([^)]*)\)")


def read_metrics(folder):
    """{series name: {label: allowed values or None}}"""
    series = {}
    for path in sorted(glob.glob(os.path.join(folder, "*.txt"))):
        for line in open(path).read().splitlines():
            kind, name, *labels = line.split()
            values = {label: set(allowed.split("|")) if allowed else None for label, _, allowed in (e.partition("=") for e in labels)}
            names = [name + end for end in ("_bucket", "_sum", "_count")] if kind == "histogram" else [name]
            for one in names:
                known = series.setdefault(one, {"base": name, "labels": {}})
                known["labels"].update(values)
                if one.endswith("_bucket") and kind == "histogram":
                    known["labels"]["le"] = None
    return series


def check_query(where, query, series):
    problems, labels = [], set(TARGET_LABELS)
    for name, selector in METRIC.findall(query):
        if name not in series:
            problems.append(f"{where}: {name} is not exported")
            continue
        known = series[name]["labels"]
        labels |= set(known)
        for label, operator, value in MATCHER.findall(selector):
            if label in TARGET_LABELS:
                continue
            if label not in known:
                problems.append(f"{where}: {name} has no label {label}")
            elif known[label] is not None:
                wanted = value.split("|") if "~" in operator else [value]
                problems += [f"{where}: {name} never has {label}={one}" for one in wanted if one not in known[label]]
    for group in GROUPING.findall(query):
        problems += [f"{where}: grouped by {label}, which none of its metrics has"
                     for label in (part.strip() for part in group.split(",")) if label and label not in labels]
    return problems


def panels_of(board):
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def fill(query):
    """A query with Grafana's variables replaced by what matches everything."""
    return query.replace("$__rate_interval", "1m").replace("$namespace", ".*").replace("$instance", ".*")


def check_board(name, board, series):
    problems, queries = [], []
    for panel in panels_of(board):
        where = f"{name}.json, {panel['title']}"
        if not panel.get("description", "").endswith("?"):
            problems.append(f"{where}: its description is not a question")
        for target in panel["targets"]:
            queries.append(target["expr"])
            problems += check_query(where, target["expr"], series)
    return problems, queries


def read_waivers(path):
    waivers = {}
    for line in open(path).read().splitlines():
        if line and not line.startswith("#"):
            name, _, reason = line.partition(" ")
            waivers[name] = reason.strip()
    return waivers


def check_syntax(queries):
    if shutil.which("promtool") is None:
        print("check_dashboards: no promtool, the queries' syntax was not checked")
        return []
    rules = [{"record": f"query:{number}", "expr": fill(query)} for number, query in enumerate(queries)]
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        json.dump({"groups": [{"name": "queries", "rules": rules}]}, file)  # JSON is YAML
        file.flush()
        done = subprocess.run(["promtool", "check", "rules", file.name], capture_output=True, text=True, check=False)
    return [] if done.returncode == 0 else [done.stdout + done.stderr]


def alert_queries(path):
    return re.findall(r"expr: >-\n\s+(.*)", open(path).read())


def main(root=ROOT):
    series = read_metrics(os.path.join(root, "tests/golden/metrics_list"))
    problems, all_queries = [], []
    boards = sorted(glob.glob(os.path.join(root, "monitoring/dashboards/*.json")))
    for path in boards:
        name = os.path.basename(path)[:-len(".json")]
        found, queries = check_board(name, json.load(open(path)), series)
        problems, all_queries = problems + found, all_queries + queries
    for query in alert_queries(os.path.join(root, "monitoring/alerts.yaml")):
        problems += check_query(f"alerts.yaml, {query[:50]}", query, series)
    problems += check_syntax(all_queries)
    shown = {series[name]["base"] for query in all_queries for name, _ in METRIC.findall(query) if name in series}
    waivers = read_waivers(os.path.join(root, "monitoring/dashboards/waivers.txt"))
    exported = {entry["base"] for entry in series.values()}
    problems += [f"{name} is on no board and not in monitoring/dashboards/waivers.txt" for name in sorted(exported - shown - set(waivers))]
    problems += [f"waivers.txt: {name} is {'on a board' if name in shown else 'not exported'}"
                 for name in sorted(waivers) if name in shown or name not in exported]
    problems += [f"waivers.txt: {name} has no reason" for name, reason in waivers.items() if not reason]
    done = subprocess.run([sys.executable, os.path.join(root, "monitoring/dashboards/make_dashboards.py"), "--check"], capture_output=True,
                          text=True, check=False)
    problems += [done.stdout.strip()] if done.returncode else []
    for problem in problems:
        print(problem)
    print(f"dashboards: {len(boards)} boards, {len(all_queries)} queries, {len(exported)} metrics, {len(problems)} problems")
    return 1 if problems or not boards else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
