#!/usr/bin/env python3
"""Makes the Grafana dashboards beside it from the table below. --check: fails where a file differs.

A panel is (title, the question it answers, unit, [(query, legend)]). In a query `$s` stands for the selector of what was chosen at the top
(namespace and, on the worker's board, instance) and goes into every selector; $r is the rate's interval.
"""
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(HERE)), ".ci"))
from generated_files import write_or_check  # noqa: E402


def quantiles(metric):
    return [(f"histogram_quantile({q}, sum by (le) (rate({metric}_bucket{{$s}}[$r])))", f"p{int(q * 100)}") for q in (0.5, 0.9, 0.99)]


def rate_by(metric, label):
    return [(f"sum by ({label}) (rate({metric}{{$s}}[$r]))", "{{" + label + "}}")]


def by_instance(metric, legend="{{instance}}"):
    return [(f"{metric}{{$s}}", legend)]


OVERVIEW = [
    ("Traffic", [
        ("Requests by outcome", "How many requests end, and how?", "reqps", rate_by("leadline_requests_finished_total", "outcome")),
        ("Turned away", "How many requests are refused before they begin, and why?", "reqps", rate_by("leadline_requests_rejected_total", "reason")),
        ("HTTP answers", "Which share of answers are errors?", "reqps", rate_by("leadline_http_responses_total", "class")),
        ("Tokens", "How much is read and written?", "short", [
            ("sum(rate(leadline_generation_tokens_total{$s}[$r]))", "generated"),
            ("sum by (source) (rate(leadline_prompt_tokens_total{$s}[$r]))", "prompt {{source}}")]),
    ]),
    ("Latency", [
        ("First token", "How long do people wait for the first token?", "s", quantiles("leadline_request_ttft_seconds")),
        ("Between tokens", "How fluent is a stream?", "s", quantiles("leadline_request_inter_token_seconds")),
        ("Whole request", "How long does a request take from receipt to end?", "s", quantiles("leadline_request_e2e_seconds")),
        ("Where the time goes", "Is it the queue, the prompt or the answer that takes the time (median)?", "s", [
            (f"histogram_quantile(0.5, sum by (le) (rate(leadline_request_{part}_seconds_bucket{{$s}}[$r])))", part)
            for part in ("queue", "prefill", "decode")]),
        ("Queue", "How long do requests wait for a worker?", "s", quantiles("leadline_request_queue_seconds")),
    ]),
    ("Saturation", [
        ("Requests now", "How many run, and how many wait for what?", "short", [
            ("sum(leadline_requests_running{$s})", "running"), ("sum by (reason) (leadline_requests_waiting{$s})", "waiting: {{reason}}")]),
        ("Connections", "How many clients are connected?", "short", by_instance("leadline_http_connections")),
        ("Prefix hits", "Which share of prompt tokens was not computed again?", "percentunit", [
            ('sum(rate(leadline_prompt_tokens_total{source="cached",$s}[$r])) / sum(rate(leadline_prompt_tokens_total{$s}[$r]))', "cached")]),
    ]),
]
WORKER = [
    ("Steps", [
        ("Step time by stage", "What does a step spend its time on?", "s", [
            ("sum by (stage) (rate(leadline_step_seconds_sum{$s}[$r])) / ignoring (stage) group_left sum(rate(leadline_steps_total{$s}[$r]))", "{{stage}}")]),
        ("Forward pass", "How long does the model itself take?", "s", [
            (f'histogram_quantile({q}, sum by (le) (rate(leadline_step_seconds_bucket{{stage="forward",$s}}[$r])))', f"p{int(q * 100)}")
            for q in (0.5, 0.9, 0.99)]),
        ("Steps a second", "Is every worker alive?", "ops", [("rate(leadline_steps_total{$s}[$r])", "{{instance}}")]),
        ("Age of the running step", "Is a step stuck?", "s", by_instance("leadline_step_age_seconds")),
        ("Tokens of sequences", "How many tokens are computed, found and sampled?", "short", rate_by("leadline_sequence_tokens_total", "kind")),
        ("Tokens per step", "How large is the batch that a step decodes?", "short", [
            ('sum by (instance) (rate(leadline_sequence_tokens_total{kind="generated",$s}[$r])) / sum by (instance) (rate(leadline_steps_total{$s}[$r]))',
             "{{instance}}")]),
    ]),
    ("Sequences", [
        ("Running", "How many sequences take part in steps?", "short", by_instance("leadline_sequences_running")),
        ("Waiting", "What do sequences wait for?", "short", [("sum by (reason) (leadline_sequences_waiting{$s})", "{{reason}}")]),
        ("Ended", "How do sequences end?", "ops", rate_by("leadline_sequences_finished_total", "reason")),
        ("Queue of the worker", "How long do sequences wait within the worker?", "s", quantiles("leadline_sequence_queue_seconds")),
    ]),
    ("Start", [
        ("Phase", "What is each process doing: loading, ready, draining?", "short", [
            ("leadline_startup_phase{$s} == 1", "{{instance}} {{phase}}")]),
        ("Time to start", "How long did each phase of the start take?", "s", [("leadline_startup_seconds{$s}", "{{instance}} {{phase}}")]),
        ("Weights", "How many bytes of weights does a rank hold?", "bytes", by_instance("leadline_weight_bytes")),
        ("Ranks", "How many ranks does each worker have?", "short", by_instance("leadline_ranks")),
    ]),
    ("Process", [
        ("Processor", "How many cores are busy?", "short", [("rate(leadline_process_cpu_seconds{$s}[$r])", "{{instance}}")]),
        ("Memory", "Does memory grow under steady load?", "bytes", by_instance("leadline_process_resident_memory_bytes")),
        ("Descriptors", "Do descriptors leak?", "short", by_instance("leadline_process_open_descriptors")),
        ("Up since", "Has a process restarted?", "s", [("time() - leadline_process_start_time_seconds{$s}", "{{instance}}")]),
    ]),
]
KV = [
    ("Device memory", [
        ("Pages by state", "How full is the pool, and how much of it can be reused?", "short", [
            ("sum by (state) (leadline_kv_pages{$s})", "{{state}}")]),
        ("Pool in use", "Which share of pages is held by running sequences?", "percentunit", [
            ('sum by (instance) (leadline_kv_pages{state="used",$s}) / sum by (instance) (leadline_kv_pages{$s})', "{{instance}}")]),
        ("Pool size", "How large is the pool of a rank?", "bytes", by_instance("leadline_kv_pool_bytes")),
        ("Waiting for pages", "Does the pool hold back work?", "short", [('leadline_sequences_waiting{reason="pages",$s}', "{{instance}}")]),
    ]),
    ("Reuse", [
        ("Prompt tokens found", "Which share of prompt tokens is found in memory?", "percentunit", [
            ('sum(rate(leadline_sequence_tokens_total{kind="prompt_cached",$s}[$r])) / '
             'sum(rate(leadline_sequence_tokens_total{kind=~"prompt_cached|prompt_computed",$s}[$r]))', "found")]),
        ("Preemptions", "How often are sequences put aside, and by which means?", "ops", rate_by("leadline_preemptions_total", "kind")),
        ("Pages to and from host memory", "How much is swapped?", "ops", rate_by("leadline_swapped_pages_total", "direction")),
    ]),
    ("Tiers: what they give", [
        ("Prompt tokens from tiers", "Which tier spares how much computing?", "short", rate_by("leadline_kv_tier_prompt_tokens_total", "tier")),
        ("Fetch or compute", "What is chosen for prefixes that a tier has?", "ops", [
            ("sum by (tier, choice) (rate(leadline_kv_fetch_decisions_total{$s}[$r]))", "{{tier}} {{choice}}")]),
        ("Wait for a prefix", "How long do requests wait for their blocks?", "s", quantiles("leadline_kv_load_wait_seconds")),
        ("Regret and timeouts", "Are choices between fetching and computing wrong, and which way?", "short", [
            ("sum by (done) (rate(leadline_kv_fetch_regret_seconds_total{$s}[$r]))", "seconds lost a second, {{done}}"),
            ("sum(rate(leadline_kv_fetch_timeouts_total{$s}[$r]))", "timeouts a second")]),
        ("Load time", "How long does a tier take for one request's blocks (p90)?", "s", [
            ("histogram_quantile(0.9, sum by (le, tier) (rate(leadline_kv_tier_load_seconds_bucket{$s}[$r])))", "{{tier}}")]),
        ("Bytes loaded", "How much comes back from each tier?", "Bps", rate_by("leadline_kv_tier_load_bytes_total", "tier")),
    ]),
    ("Tiers: what they hold", [
        ("Used", "How full is each tier?", "bytes", [("sum by (tier) (leadline_kv_tier_used_bytes{$s})", "{{tier}}"),
                                                     ("sum by (tier) (leadline_kv_tier_capacity_bytes{$s})", "{{tier}} limit")]),
        ("Blocks", "How many blocks are there?", "short", [("sum by (tier) (leadline_kv_tier_blocks{$s})", "{{tier}}")]),
        ("State", "Which tier does not work?", "short", [('sum by (tier, state) (leadline_kv_tier_state{state!="ok",$s})', "{{tier}} {{state}}")]),
        ("Reads that gave nothing", "Are blocks damaged, foreign or out of reach?", "ops", [
            ('sum by (tier, outcome) (rate(leadline_kv_tier_reads_total{outcome!="hit",$s}[$r]))', "{{tier}} {{outcome}}")]),
        ("Stores", "What becomes of blocks that are offered?", "ops", [
            ("sum by (tier, outcome) (rate(leadline_kv_tier_stores_total{$s}[$r]))", "{{tier}} {{outcome}}")]),
        ("Waiting to be stored", "Which tier cannot keep up?", "bytes", [("sum by (tier) (leadline_kv_tier_queued_bytes{$s})", "{{tier}}")]),
        ("Store time", "How long does storing one block take (p90)?", "s", [
            ("histogram_quantile(0.9, sum by (le, tier) (rate(leadline_kv_tier_store_seconds_bucket{$s}[$r])))", "{{tier}}")]),
        ("Bytes stored", "How much goes into each tier?", "Bps", rate_by("leadline_kv_tier_store_bytes_total", "tier")),
        ("Reads before eviction", "Do blocks leave without having been of use?", "ops", [
            ("sum by (tier, reads) (rate(leadline_kv_tier_evictions_total{$s}[$r]))", "{{tier}} read {{reads}}")]),
        ("A learned ranker's choices", "Whose choice leaves, with --kv-ranker?", "ops", [
            ("sum by (tier, by) (rate(leadline_kv_ranker_evictions_total{$s}[$r]))", "{{tier}} by {{by}}"),
            ('sum by (tier, answer) (rate(leadline_kv_ranker_answers_total{answer=~"late|none|resting",$s}[$r]))', "{{tier}} {{answer}}")]),
        ("A ranker in shadow", "Would its choices have been missed less (spared) than those taken (left)?", "ops", [
            ("sum by (tier, block) (rate(leadline_kv_ranker_shadow_returns_total{$s}[$r]))", "{{tier}} {{block}}"),
            ('sum by (tier) (rate(leadline_kv_ranker_answers_total{answer="differed",$s}[$r]))', "{{tier}} choices that differed")]),
        ("Eviction to reuse", "How soon are evicted blocks missed (median)?", "s", [
            ("histogram_quantile(0.5, sum by (le, tier) (rate(leadline_kv_tier_evict_to_reuse_seconds_bucket{$s}[$r])))", "{{tier}}")]),
    ]),
    ("Compression", [
        ("Slots kept", "Which share of the KV does each method keep?", "percentunit", [
            ('sum by (method) (rate(leadline_kv_compression_slots_total{kind="kept",$s}[$r])) / '
             'sum by (method) (rate(leadline_kv_compression_slots_total{kind="seen",$s}[$r]))', "{{method}}")]),
        ("Slots seen", "Which methods are used?", "ops", [
            ('sum by (method) (rate(leadline_kv_compression_slots_total{kind="seen",$s}[$r]))', "{{method}}")]),
        ("Compressed sequences", "How many sequences run on compressed KV?", "short", by_instance("leadline_kv_compressed_sequences")),
        ("Time of a compression", "How long does a sequence wait for its compression?", "s", quantiles("leadline_kv_compression_seconds")),
    ]),
]
CLUSTER = [
    ("Routing", [
        ("Requests per worker", "Is the load even?", "short", [("sum by (worker) (leadline_worker_requests{$s})", "worker {{worker}}")]),
        ("Links", "Which links are in which state?", "short", [("sum by (state) (leadline_worker_link_state{$s})", "{{state}}")]),
        ("Ready workers", "How many workers can each coordinator use?", "short", [
            ('sum by (instance) (leadline_worker_link_state{state="ready",$s})', "{{instance}}")]),
        ("Coordinators per worker", "Is every coordinator connected to every worker?", "short", by_instance("leadline_coordinator_links")),
    ]),
    ("Faults", [
        ("Migrations", "What became of requests whose worker was lost?", "ops", rate_by("leadline_request_migrations_total", "outcome")),
        ("Connections to workers", "Does a link flap?", "ops", [("sum by (worker) (rate(leadline_worker_connects_total{$s}[$r]))", "worker {{worker}}")]),
        ("Links that ended", "Why do links end?", "ops", rate_by("leadline_coordinator_links_ended_total", "reason")),
        ("Restarts by the supervisor", "Did `leadline up` start something again?", "short", by_instance("leadline_process_restarts_total")),
        ("Starts in an hour", "Which process starts again and again?", "short", [
            ("changes(leadline_process_start_time_seconds{$s}[1h])", "{{instance}}")]),
    ]),
    ("Stragglers", [
        ("Slowest and middle worker", "Is one worker slower than its peers?", "s", [
            ('max(sum by (instance) (rate(leadline_step_seconds_sum{stage="forward",$s}[$r])) / sum by (instance) (rate(leadline_steps_total{$s}[$r])))', "slowest"),
            ('quantile(0.5, sum by (instance) (rate(leadline_step_seconds_sum{stage="forward",$s}[$r])) / sum by (instance) (rate(leadline_steps_total{$s}[$r])))',
             "middle")]),
        ("Versions", "Does everything run the same version?", "short", [("count by (component, version) (leadline_build_info{$s})", "{{component}} {{version}}")]),
    ]),
]
SPECULATION = [
    ("What it gives", [
        ("Acceptance", "Which share of drafts stands?", "percentunit", [
            ("sum(rate(leadline_speculation_accepted_total{$s}[$r])) / sum(rate(leadline_speculation_drafted_total{$s}[$r]))", "accepted")]),
        ("Acceptance by position", "How far ahead is drafting of use?", "percentunit", [
            ("sum by (position) (rate(leadline_speculation_accepted_total{$s}[$r])) / "
             "sum by (position) (rate(leadline_speculation_drafted_total{$s}[$r]))", "draft {{position}}")]),
        ("Time saved and lost", "Does it pay, by the guard's estimate?", "s", rate_by("leadline_speculation_seconds_total", "effect")),
        ("Drafts stood per round", "How many tokens more than one does a round give?", "short", [
            ("sum(rate(leadline_speculation_accepted_total{$s}[$r])) / sum(rate(leadline_speculation_rounds_total{$s}[$r]))", "tokens")]),
    ]),
    ("What is decided", [
        ("Exits", "How deep are drafts taken from (sixteenths of the model)?", "ops", rate_by("leadline_speculation_rounds_total", "depth")),
        ("Policy", "Which policy decides?", "short", [("leadline_speculation_policy{$s} == 1", "{{instance}} {{policy}}")]),
        ("Training", "How long ago did a training of the policy end, and how?", "s", [
            ("time() - max by (outcome) (leadline_policy_training_timestamp_seconds{$s} > 0)", "{{outcome}}")]),
        ("Decisions", "How many decisions a second?", "ops", [("sum(rate(leadline_speculation_decisions_total{$s}[$r]))", "decisions")]),
        ("Time of a decision", "What does deciding cost, probes included?", "s", [
            ("sum(rate(leadline_speculation_decision_seconds_total{$s}[$r])) / sum(rate(leadline_speculation_decisions_total{$s}[$r]))", "mean")]),
    ]),
]
BOARDS = {"overview": ("Leadline: overview", OVERVIEW), "worker": ("Leadline: workers", WORKER), "kv": ("Leadline: KV memory", KV),
          "cluster": ("Leadline: cluster", CLUSTER), "speculation": ("Leadline: speculation", SPECULATION)}
SELECTOR = 'namespace=~"$namespace",instance=~"$instance"'


def variable(name, query):
    return {"name": name, "label": name, "type": "query", "datasource": {"type": "prometheus", "uid": "${datasource}"}, "query": query,
            "definition": query, "refresh": 2, "includeAll": True, "multi": True, "allValue": ".*", "sort": 1,
            "current": {"text": "All", "value": "$__all"}}


def panel(number, place, title, question, unit, queries):
    targets = [{"refId": chr(65 + i), "expr": expr.replace("$s", SELECTOR).replace("$r", "$__rate_interval"), "legendFormat": legend,
                "datasource": {"type": "prometheus", "uid": "${datasource}"}} for i, (expr, legend) in enumerate(queries)]
    return {"id": number, "type": "timeseries", "title": title, "description": question, "gridPos": place, "targets": targets,
            "datasource": {"type": "prometheus", "uid": "${datasource}"},
            "fieldConfig": {"defaults": {"unit": unit, "min": 0, "custom": {"fillOpacity": 8, "showPoints": "never"}}, "overrides": []},
            "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}}


def board(name):
    title, rows = BOARDS[name]
    panels, y, number = [], 0, 1
    for row, entries in rows:
        panels.append({"id": number, "type": "row", "title": row, "collapsed": False, "gridPos": {"h": 1, "w": 24, "x": 0, "y": y}, "panels": []})
        number, y = number + 1, y + 1
        for index, entry in enumerate(entries):
            panels.append(panel(number, {"h": 8, "w": 8, "x": 8 * (index % 3), "y": y + 8 * (index // 3)}, *entry))
            number += 1
        y += 8 * ((len(entries) + 2) // 3)
    templating = [{"name": "datasource", "type": "datasource", "query": "prometheus", "label": "data source"},
                  variable("namespace", "label_values(leadline_build_info, namespace)"),
                  variable("instance", 'label_values(leadline_build_info{namespace=~"$namespace"}, instance)')]
    return {"uid": f"leadline-{name}", "title": title, "tags": ["leadline"], "schemaVersion": 39, "version": 1, "editable": True,
            "refresh": "10s", "time": {"from": "now-1h", "to": "now"}, "timezone": "browser", "templating": {"list": templating},
            "links": [{"type": "dashboards", "tags": ["leadline"], "asDropdown": False, "title": "Leadline"}], "panels": panels}


def main():
    texts = {os.path.join(HERE, name + ".json"): json.dumps(board(name), indent=1) + "\n" for name in BOARDS}
    return write_or_check(texts, "monitoring/dashboards/make_dashboards.py")


if __name__ == "__main__":
    sys.exit(main())
