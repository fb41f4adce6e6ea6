#!/usr/bin/env python3
"""KV blocks in tiers, held on real processes: answers are the same as without a store, blocks survive restarts and rank counts, and every
way in which a tier fails is a miss or a state, never a wrong answer or a stopped server."""
import concurrent.futures
import glob
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

from server_process import BUILD, ROOT, ServerProcess

OFF = ["--kv-memory", "0", "--kv-disk-bytes", "0"]


def prompt(number, words=420):
    """Text of about two tokens a word, the same for the same number, different from the first word on."""
    return " ".join(f"{number}{(number * 7919 + i * 104729) % 9973}" for i in range(words))


def ask(server, text, **more):
    body = {"model": server.model, "prompt": text, "max_tokens": 16, "temperature": 0, "logprobs": 2, "seed": 5, **more}
    return server.post("/v1/completions", body)


def ask_status(server):
    return server.request("/v1/completions", {"model": server.model, "prompt": "x", "max_tokens": 1})[0]


def content(answer):
    choice = answer["choices"][0]
    return choice["text"], choice["logprobs"]


def by_tier(answer):
    return answer["usage"]["prompt_tokens_details"]["cached_by_tier"]


def chat(server, number, turns=3):
    """Turns whose prompt is all that was said before; the answers."""
    text, answers = prompt(number, 150), []
    for turn in range(turns):
        answers.append(ask(server, text))
        text += answers[-1]["choices"][0]["text"] + f" and then {turn} {number}"
    return answers


def metric(server, name, **labels):
    """The sum of a worker's series that have these labels."""
    return sum(value for series, value in server.metrics(0).items()
               if series.split("{")[0] == name and all(f'{k}="{v}"' in series for k, v in labels.items()))


class Plain:
    """Answers of a server without a store, computed once."""
    answers = {}

    @classmethod
    def of(cls, number):
        if number not in cls.answers:
            with ServerProcess(ranks=1, extra=OFF) as server:
                for one in range(1, 13):
                    cls.answers[one] = [content(a) for a in chat(server, one)]
        return cls.answers[number]


class KvStoreTest(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory(prefix="leadline-kv-")
        self.addCleanup(self.directory.cleanup)

    def disk(self, *more, memory="0"):
        return ["--kv-memory", memory, "--kv-disk", self.directory.name, *more]

    def blocks(self):
        return sorted(glob.glob(os.path.join(self.directory.name, "v1/blocks/*/*.kvb")))

    def check_chat(self, server, number):
        answers = chat(server, number)
        self.assertEqual([content(a) for a in answers], Plain.of(number))
        return answers

    def test_restarts_with_other_rank_counts_find_the_blocks(self):
        with ServerProcess(ranks=1, extra=self.disk()) as server:
            self.check_chat(server, 1)
        self.assertGreater(len(self.blocks()), 20)
        for ranks in (2, 4, 1):
            with self.subTest(ranks=ranks), ServerProcess(ranks=ranks, extra=self.disk()) as server:
                first = self.check_chat(server, 1)[0]
                self.assertGreater(by_tier(first)["disk"], 100)
                self.assertEqual(by_tier(first)["disk"], first["usage"]["prompt_tokens_details"]["cached_tokens"])

    def test_explain_tells_where_a_prompt_came_from(self):
        with ServerProcess(ranks=2, extra=self.disk()) as server:
            ask(server, prompt(1, 150))
        with ServerProcess(ranks=2, extra=self.disk()) as server:
            body = {"model": server.model, "prompt": prompt(1, 150), "max_tokens": 2, "temperature": 0}
            headers, answer = server.request("/v1/completions", body)[1:]
            cached = by_tier(json.loads(answer))
            self.assertGreater(cached["disk"], 100)
            story = server.get("/v1/kv/explain?request_id=" + headers["X-Request-Id"])["choices"][0]
            self.assertEqual([span["source"] for span in story["spans"]], ["disk", "computed"])
            self.assertEqual(story["spans"][0], {"from": 0, "to": cached["disk"], "source": "disk"})
            self.assertEqual(story["spans"][-1]["to"], story["prompt_tokens"])
            self.assertEqual({name: tier["tokens"] for name, tier in story["tiers"].items()}, cached)
            self.assertGreater(story["tiers"]["disk"]["bytes"], 0)
            self.assertGreater(story["tiers"]["disk"]["read_ms"], 0)
            self.assertGreaterEqual(story["waited_ms"], story["tiers"]["disk"]["read_ms"])
            self.assertGreater(story["recompute_ms"], 0)
            self.assertGreaterEqual(story["offered_tokens"], cached["disk"])
            self.assertEqual(server.request("/v1/kv/explain?request_id=nobody")[0], 404)

    def kv(self, *words, code=0):
        program = os.path.join(BUILD, "bin/leadline")
        done = subprocess.run([program, "kv", *words, "--dir", self.directory.name], capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout

    def test_kv_commands_beside_a_running_server(self):
        self.kv("ls", code=1)  # nothing is kept here, and looking makes nothing
        self.assertEqual(os.listdir(self.directory.name), [])
        with ServerProcess(ranks=1, extra=self.disk()) as server:
            self.check_chat(server, 1)
            server.wait_until(lambda: metric(server, "leadline_kv_tier_queued_bytes") == 0)
            rows = [json.loads(line) for line in self.kv("ls", "--json", "--limit", "0").splitlines()]
            self.assertEqual(len(rows), len(self.blocks()))
            shown = json.loads(self.kv("show", rows[0]["block"]))
            self.assertEqual((shown["whole"], shown["tokens"]), (True, 16))
            self.assertIn("0 damaged", self.kv("verify"))
            stats = json.loads(self.kv("stats", "--json", "--admin", server.worker_admin_url(0)))
            self.assertEqual(stats["blocks"], len(rows))
            self.assertEqual([value for name, value in stats["worker"].items()
                              if name.startswith("leadline_kv_tier_state{") and 'tier="disk"' in name and 'state="ok"' in name], [1])
            self.assertIn("| disk | ok |", self.kv("stats", "--admin", server.worker_admin_url(0)))
            self.assertIn("would remove: ", self.kv("gc", "--max-bytes", "1MiB", "--dry-run"))
            self.assertEqual(len(self.blocks()), len(rows))
            self.kv("gc", "--max-bytes", "1MiB")
            self.assertLess(len(self.blocks()), len(rows))
            self.check_chat(server, 1)
            with open(self.blocks()[0], "r+b") as file:
                file.seek(500)
                file.write(b"damage")
            self.assertIn("1 damaged", self.kv("verify", "--quarantine", code=1))
            self.assertIn("0 damaged", self.kv("verify"))
            self.check_chat(server, 1)
            self.assertIn("quarantine emptied: 1 files", self.kv("gc", "--quarantine"))
        self.kv("gc", "--older-than", "soon", code=1)
        self.kv("gc", "--max-bytes", "1")
        self.assertEqual(self.blocks(), [])
        with ServerProcess(ranks=1, extra=self.disk()) as server:
            self.check_chat(server, 1)

    def test_the_access_log_replays(self):
        logs = os.path.join(self.directory.name, "logs/")
        path, disk = logs + "worker-0.kvlog", 0
        for run in range(2):
            with ServerProcess(ranks=2, extra=self.disk("--kv-access-log", logs)) as server:
                disk += sum(by_tier(answer)["disk"] for answer in self.check_chat(server, 1))
                server.wait_until(lambda: metric(server, "leadline_kv_access_records_total", outcome="written") > 0)
                self.assertEqual(metric(server, "leadline_kv_access_records_total", outcome="lost"), 0)
                rows = self.replay(path)  # beside the running server
            self.assertEqual([row["policy"] for row in rows[:2]], ["belady", "lru"])
        self.assertGreater(disk, 100)
        for row in self.replay(path, whole=True):  # with room for all, whatever the policy: what was read from disk, and no more looks than were asked
            self.assertGreaterEqual(row["hits"] * 16, disk)
            self.assertGreater(row["looks"], row["hits"])  # of the first run
            self.assertGreater(row["saved_s"], 0)

    def test_a_learned_ranker_in_shadow_then_obeyed(self):
        """Blocks leave small tiers by a ranker of `leadline kv train`, of this server's own log where that beats the default; answers stay the same."""
        logs, ranker = os.path.join(self.directory.name, "logs/"), os.path.join(self.directory.name, "ranker")
        small = self.disk("--kv-disk-bytes", "512KiB", memory="512KiB")
        with ServerProcess(ranks=1, extra=self.disk("--kv-access-log", logs)) as server:
            for number in (1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6):
                self.check_chat(server, number)
        words = [os.path.join(BUILD, "bin/leadline"), "kv", "train", logs + "worker-0.kvlog", "-o", ranker, "--least-gain", "0", "--capacity", "0.1"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=300)
        if not os.path.exists(ranker):  # so short a log may teach nothing: any ranker serves here
            self.assertRegex(done.stderr, "not better than S3-FIFO|a longer log")
            shutil.copy(os.path.join(ROOT, "tests/fuzz/corpus/kv_study/ranker"), ranker)
        for mode in ("shadow", "obey"):
            with self.subTest(mode=mode), ServerProcess(ranks=2, extra=[*small, "--kv-ranker", ranker, "--kv-ranker-mode", mode]) as server:
                for number in (7, 8, 9, 7, 8, 9):
                    self.check_chat(server, number)
                for tier in ("memory", "disk"):
                    by = {who: metric(server, "leadline_kv_ranker_evictions_total", tier=tier, by=who) for who in ("ranker", "guard", "s3fifo")}
                    self.assertEqual(sum(by.values()), metric(server, "leadline_kv_tier_evictions_total", tier=tier))
                    self.assertGreater(sum(by.values()), 10, tier)
                    self.assertEqual(by["ranker"] + by["guard"] == 0, mode == "shadow", by)
                    compared = metric(server, "leadline_kv_ranker_answers_total", tier=tier, answer="agreed") + metric(
                        server, "leadline_kv_ranker_answers_total", tier=tier, answer="differed")
                    self.assertEqual(compared > 0, mode == "shadow")
        with open(ranker, "r+b") as file:
            file.truncate(100)
        worker = subprocess.run([os.path.join(BUILD, "bin/leadline-worker"), "--model", os.path.join(ROOT, "models/reference"), "--kv-memory", "1MiB",
                                 "--kv-ranker", ranker], capture_output=True, text=True, timeout=60)
        self.assertNotEqual(worker.returncode, 0)
        self.assertIn("--kv-ranker " + ranker, worker.stderr)

    def replay(self, path, whole=False):
        words = [os.path.join(BUILD, "bin/leadline"), "kv", "replay", path, "--capacity", "1", "--warm", "0", "--json"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        if whole:
            self.assertEqual(done.stderr, "")  # nothing damaged; a writer's last record may be torn for a moment
        return [json.loads(line) for line in done.stdout.splitlines()]

    def test_two_workers_share_a_directory(self):
        with ServerProcess(ranks=1, workers=2, extra=self.disk()) as server:
            for number in (2, 3, 2, 3):
                self.check_chat(server, number)
        with ServerProcess(ranks=1, extra=self.disk()) as server:
            for number in (2, 3):
                self.assertGreater(by_tier(self.check_chat(server, number)[0])["disk"], 100)

    def test_torn_at_64_offsets(self):
        with ServerProcess(ranks=1, extra=self.disk()) as server:
            self.check_chat(server, 4)
        files = self.blocks()
        fields = [0, 4, 6, 8, 24, 32, 40, 48, 80, 112, 116, 120, 124, 128, 130, 132, 134, 135, 136, 160]
        size = os.path.getsize(files[0])
        offsets = fields + [192 + (size - 192) * i // 44 for i in range(44)]
        self.assertEqual(len(offsets), 64)
        # each start finds blocks torn at another offset, with zeros behind it
        for start in range(0, 64, 16):
            whole = {}
            for i, path in enumerate(self.blocks()):
                with open(path, "r+b") as file:
                    whole[path] = file.read()
                    at = offsets[(start + i) % 64]
                    file.truncate(at)
                    if i % 2:
                        file.truncate(size)  # zeros behind
            with ServerProcess(ranks=1, extra=self.disk()) as server:
                first = self.check_chat(server, 4)[0]
                self.assertEqual(by_tier(first)["disk"], 0)
        self.assertGreater(len(os.listdir(os.path.join(self.directory.name, "v1/quarantine"))), 60)

    def test_flipped_bits_are_counted_misses(self):
        with ServerProcess(ranks=1, extra=self.disk()) as server:
            self.check_chat(server, 5)
        for i, path in enumerate(self.blocks()):
            with open(path, "r+b") as file:
                data = bytearray(file.read())
                data[(i * 7919 + 300) % len(data)] ^= 1 << (i % 8)
                file.seek(0)
                file.write(data)
        with ServerProcess(ranks=1, extra=self.disk()) as server:
            self.check_chat(server, 5)
            bad = metric(server, "leadline_kv_tier_reads_total", tier="disk", outcome="corrupt")
            aside = len(os.listdir(os.path.join(self.directory.name, "v1/quarantine")))
            self.assertGreater(aside, 0)
            self.assertGreaterEqual(aside, bad)

    def test_a_block_of_another_version_is_a_miss(self):
        with ServerProcess(ranks=1, extra=self.disk()) as server:
            self.check_chat(server, 6)
        for path in self.blocks():
            with open(path, "r+b") as file:
                file.seek(4)
                file.write(b"\x02\x00")
        with ServerProcess(ranks=1, extra=self.disk()) as server:
            self.assertEqual(by_tier(self.check_chat(server, 6)[0])["disk"], 0)

    def test_another_arithmetic_finds_nothing(self):
        """Tables of kernels with other bits (tiles) share no block; those with the same bits do (exactness X7)."""
        with ServerProcess(ranks=1, extra=self.disk()) as server:
            self.check_chat(server, 7)
            tiles = metric(server, "leadline_config_info", isa="cpu/amxbf16") == 1
        with ServerProcess(ranks=1, extra=self.disk(), env={"LEADLINE_CPU_ISA": "avx2"}) as server:
            cached = by_tier(ask(server, prompt(7, 150)))
            if tiles:
                self.assertEqual(cached, {"device": 0, "memory": 0, "disk": 0, "redis": 0})
            else:
                self.assertGreater(cached["disk"], 100)

    def test_another_tenant_finds_nothing(self):
        keys = os.path.join(self.directory.name, "keys")
        with open(keys, "w") as file:
            file.write("alice:key-of-alice-000001\nbob:key-of-bob-00000002\n")
        os.chmod(keys, 0o600)
        extra = self.disk("--api-key-file", keys)
        alice, bob = ({"Authorization": f"Bearer {key}"} for key in ("key-of-alice-000001", "key-of-bob-00000002"))

        def read(server, who):
            body = {"model": server.model, "prompt": prompt(8), "max_tokens": 4, "temperature": 0}
            status, _, answer = server.request("/v1/completions", body, headers=who)
            self.assertEqual(status, 200, answer)
            return by_tier(json.loads(answer))["disk"]
        with ServerProcess(ranks=1, extra=extra) as server:
            read(server, alice)
        with ServerProcess(ranks=1, extra=extra) as server:
            self.assertEqual(read(server, bob), 0, "the same words, another tenant")
            self.assertGreater(read(server, alice), 100)
        with ServerProcess(ranks=1, extra=extra) as server:
            self.assertGreater(read(server, bob), 100, "his own by now")

    def test_two_servers_write_the_same_keys_at_once(self):
        with ServerProcess(ranks=1, extra=self.disk()) as one, ServerProcess(ranks=2, extra=self.disk()) as two:
            start = threading.Barrier(2)

            def ask_all(server):
                answers = []
                for number in range(30, 36):
                    start.wait(120)
                    answers.append(content(ask(server, prompt(number))))
                return answers
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                first, second = pool.map(ask_all, (one, two))
            self.assertEqual(first, second)
            for server in (one, two):
                server.wait_until(lambda server=server: metric(server, "leadline_kv_tier_queued_bytes") == 0)
            written = [metric(server, "leadline_kv_tier_stores_total", tier="disk", outcome="stored") for server in (one, two)]
            there = [metric(server, "leadline_kv_tier_stores_total", tier="disk", outcome="present") for server in (one, two)]
            # rank 0 of the second server tells of half of its heads
            self.assertGreater(sum(there), 0, "they met")
            self.assertGreater(min(written), 0)
            used = sum(-(-os.path.getsize(path) // 4096) * 4096 + 256 for path in self.blocks())
            for server in (one, two):
                server.wait_until(lambda server=server: metric(server, "leadline_kv_tier_used_bytes", tier="disk") == used, what="every file counted once")
        self.assertIn("0 damaged", self.kv("verify"))
        self.assertEqual(os.listdir(os.path.join(self.directory.name, "v1/tmp")), [])

    def test_worker_killed_while_writing(self):
        with ServerProcess(ranks=1, extra=self.disk()) as server:
            for number in (9, 10, 11):
                ask(server, prompt(number, 300))
                for pid in server.children("leadline-worker"):
                    os.kill(pid, signal.SIGKILL)
                server.wait_until(lambda: ask_status(server) == 200, what="an answer after the kill")
            self.check_chat(server, 9)
        with ServerProcess(ranks=1, extra=self.disk()) as server:
            self.check_chat(server, 10)
        self.assertEqual(os.listdir(os.path.join(self.directory.name, "v1/quarantine")), [])
        self.assertEqual(os.listdir(os.path.join(self.directory.name, "v1/tmp")), [])

    def test_disk_bytes_are_a_limit(self):
        with ServerProcess(ranks=2, extra=self.disk("--kv-disk-bytes", "2MiB")) as server:
            for number in range(1, 7):
                self.check_chat(server, number)
            used = sum(os.stat(path).st_blocks * 512 for path in self.blocks())
            self.assertLessEqual(used, 2 << 20)
            self.assertGreater(used, 1 << 19)

    def test_a_full_disk_is_a_state(self):
        with SmallFilesystem(self.directory.name, "1m") as mounted:
            if not mounted:
                self.skipTest("mounting a small tmpfs needs privileges")
            with ServerProcess(ranks=1, extra=self.disk()) as server:
                for number in (1, 2, 3):
                    self.check_chat(server, number)
                self.assertEqual(metric(server, "leadline_kv_tier_state", tier="disk", state="read_only"), 1)

    def test_a_read_only_disk_is_a_state(self):
        with SmallFilesystem(self.directory.name, "64m") as mounted:
            if not mounted:
                self.skipTest("mounting a small tmpfs needs privileges")
            with ServerProcess(ranks=1, extra=self.disk()) as server:
                self.check_chat(server, 12)
            subprocess.run(["mount", "-o", "remount,ro", self.directory.name], check=True)
            with ServerProcess(ranks=1, extra=self.disk()) as server:
                self.assertGreater(by_tier(self.check_chat(server, 12)[0])["disk"], 100)
                self.check_chat(server, 1)
                self.assertEqual(metric(server, "leadline_kv_tier_state", tier="disk", state="read_only"), 1)

    def test_memory_returns_what_the_device_lost(self):
        pool = ["--max-model-len", "1024", "--kv-pool", "4MiB", "--max-seqs", "2"]
        with ServerProcess(ranks=2, extra=[*self.disk(memory="256MiB"), *pool]) as server:
            total = 0
            for _ in range(2):
                for number in range(1, 7):
                    total += sum(by_tier(a)["memory"] for a in self.check_chat(server, number))
            self.assertGreater(total, 300)

    def test_store_false_leaves_nothing_and_a_ttl_ends(self):
        with ServerProcess(ranks=1, extra=self.disk()) as server:
            ask(server, prompt(20), kv={"store": False})
            ask(server, "x", kv={"store": False})
        self.assertEqual(self.blocks(), [])
        with ServerProcess(ranks=1, extra=self.disk()) as server:
            ask(server, prompt(21), kv={"ttl_s": 1})
        ended = time.time() + 2  # expiry counts whole seconds
        self.assertGreater(len(self.blocks()), 10)
        with ServerProcess(ranks=1, extra=self.disk()) as server:
            time.sleep(max(0, ended - time.time()))  # a start may take less: it is the clock that is waited for
            self.assertEqual(by_tier(ask(server, prompt(21)))["disk"], 0)


class RedisServer:
    """A redis-server of this test's own on a free port; None from make() where there is none."""

    def __init__(self, *words):
        self.directory = tempfile.TemporaryDirectory(prefix="leadline-redis-")
        self.words = words
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.start()

    def start(self):
        self.process = subprocess.Popen(["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--dir",
                                         self.directory.name, "--logfile", "log", *self.words])
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.01)
        raise AssertionError("redis-server did not start")

    def url(self, login=""):
        return f"redis://{login}127.0.0.1:{self.port}/0"

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        self.directory.cleanup()


@unittest.skipUnless(shutil.which("redis-server"), "no redis-server here: apt-get install redis-server")
class RedisTest(unittest.TestCase):
    def flags(self, redis, login=""):
        return [*OFF, "--kv-redis", redis.url(login)]

    def check_chat(self, server, number):
        answers = chat(server, number)
        self.assertEqual([content(a) for a in answers], Plain.of(number))
        return sum(by_tier(a)["redis"] for a in answers)

    def test_servers_and_rank_counts_share(self):
        with RedisServer() as redis:
            with ServerProcess(ranks=1, extra=self.flags(redis)) as first:
                self.check_chat(first, 1)
            for ranks in (2, 4):
                with ServerProcess(ranks=ranks, extra=self.flags(redis)) as other:
                    self.assertGreater(self.check_chat(other, 1), 100)

    def test_killed_and_restarted_empty(self):
        with RedisServer() as redis, ServerProcess(ranks=2, extra=self.flags(redis)) as server:
            self.check_chat(server, 2)
            redis.stop()
            self.check_chat(server, 3)
            server.wait_until(lambda: metric(server, "leadline_kv_tier_state", tier="redis", state="down") == 1)
            self.assertTrue(server.is_ready(), "down is a state")
            redis.start()
            self.check_chat(server, 4)

            def stored_again():
                ask(server, prompt(100 + int(time.monotonic() * 1000) % 100000, 40))
                return metric(server, "leadline_kv_tier_state", tier="redis", state="ok") == 1
            server.wait_until(stored_again, what="the tier's return")

    def test_hung(self):
        with RedisServer() as redis, ServerProcess(ranks=2, extra=self.flags(redis)) as server:
            self.check_chat(server, 5)
            redis.process.send_signal(signal.SIGSTOP)
            started = time.monotonic()
            for number in (5, 6, 7):
                self.check_chat(server, number)
            self.assertLess(time.monotonic() - started, 60)
            redis.process.send_signal(signal.SIGCONT)
            self.check_chat(server, 8)

    def test_full(self):
        words = ("--maxmemory", "2mb", "--maxmemory-policy", "noeviction")
        with RedisServer(*words) as redis, ServerProcess(ranks=1, extra=self.flags(redis)) as server:
            for number in (9, 10, 9):
                self.check_chat(server, number)
            self.assertGreater(metric(server, "leadline_kv_tier_stores_total", tier="redis", outcome="full"), 0)

    def test_wrong_password(self):
        with RedisServer("--requirepass", "richtig-1") as redis:
            with ServerProcess(ranks=1, extra=self.flags(redis, ":falsch-1@")) as server:
                self.check_chat(server, 11)
                server.wait_until(lambda: metric(server, "leadline_kv_tier_state", tier="redis", state="down") == 1)
                self.assertNotIn("falsch-1", server.log())
            with tempfile.NamedTemporaryFile("w") as file:
                file.write(redis.url(":richtig-1@") + "\n")
                file.flush()
                extra = [*OFF, "--kv-redis", "@" + file.name]
                with ServerProcess(ranks=1, extra=extra) as server:
                    self.check_chat(server, 11)
                with ServerProcess(ranks=1, extra=extra) as server:
                    self.assertGreater(self.check_chat(server, 11), 100)


class SmallFilesystem:
    def __init__(self, path, size):
        self.path, self.size = path, size

    def __enter__(self):
        self.mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={self.size}", "tmpfs", self.path],
                                      capture_output=True).returncode == 0
        return self.mounted

    def __exit__(self, *_):
        if self.mounted:
            subprocess.run(["umount", self.path], check=False)


if __name__ == "__main__":
    unittest.main()
