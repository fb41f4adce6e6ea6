#!/usr/bin/env python3
"""Malformed and hostile HTTP over raw sockets: the right status with an error object, bounded memory, others served meanwhile.

Starts build/release/bin/coordinator-over-fakes (the real coordinator over workers in memory). With LEADLINE_URL=http://HOST:PORT it
runs against that server instead (LEADLINE_MODEL names its model); what needs an own process is then skipped and says so.
"""
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from urllib.parse import urlparse

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("LEADLINE_BUILD_DIR", os.path.join(ROOT, "build/release"))
SERVER = os.path.join(BUILD, "bin/coordinator-over-fakes")
REFERENCE = os.path.join(ROOT, "models/reference")
MODEL = os.environ.get("LEADLINE_MODEL", "fake")
GIVEN = os.environ.get("LEADLINE_URL", "")


class Server:
    def __init__(self, *flags):
        self.process = subprocess.Popen([SERVER, "--model", REFERENCE, *flags], stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        self.url = re.search(r"https?://\S+", line).group(0)
        self.host, self.port = urlparse(self.url).hostname, urlparse(self.url).port

    def rss_bytes(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1)) * 1024

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.stdout.close()
        return self.process.returncode


def connect(server, timeout=10):
    return socket.create_connection((server.host, server.port), timeout=timeout)


def read_all(connection):
    data = b""
    try:
        while chunk := connection.recv(65536):
            data += chunk
    except (ConnectionResetError, TimeoutError):
        pass
    return data


def read_response(connection):
    """(status, headers, body) of one response with a Content-Length."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = connection.recv(65536)
        if not chunk:
            raise AssertionError(f"closed after {data!r}")
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:])}
    while len(body) < int(headers.get("content-length", 0)):
        body += connection.recv(65536)
    return int(lines[0].split()[1]), headers, body


def exchange(server, raw, timeout=10):
    with connect(server, timeout) as connection:
        try:
            connection.sendall(raw)
        except (BrokenPipeError, ConnectionResetError):
            pass
        return read_response(connection)


def post(server, path, body, headers=(), timeout=30):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: x", "Content-Type: application/json", f"Content-Length: {len(data)}", *headers]
    return exchange(server, "\r\n".join(lines).encode() + b"\r\n\r\n" + data, timeout)


CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}
SMALL = json.dumps(CHAT).encode()


def chat_with(**fields):
    return {**CHAT, **fields}


def head(*lines, start="POST /v1/chat/completions HTTP/1.1", host="Host: x"):
    parts = [start] + ([host] if host else []) + ["Content-Type: application/json", *lines]
    return "\r\n".join(parts).encode() + b"\r\n\r\n"


class HostileHttp(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if GIVEN:
            cls.server = type("Given", (), {"url": GIVEN, "host": urlparse(GIVEN).hostname, "port": urlparse(GIVEN).port})()
        else:
            cls.server = Server("--header-timeout-ms", "3000", "--body-timeout-ms", "3000")

    @classmethod
    def tearDownClass(cls):
        if not GIVEN:
            code = cls.server.stop()
            assert code == 0, f"the server ended with {code}"

    def assert_error(self, answer, status, param=None):
        got, headers, body = answer
        self.assertEqual(got, status, body[:300])
        self.assertIn("x-request-id", headers)
        error = json.loads(body)["error"]
        self.assertEqual(set(error), {"message", "type", "param", "code"})
        self.assertTrue(error["message"])
        if param is not None:
            self.assertEqual(error["param"], param, error)
        if status in (429, 503):
            self.assertIn("retry-after", headers)
        return error

    def assert_serves(self):
        status, _, body = post(self.server, "/v1/chat/completions", CHAT)
        self.assertEqual(status, 200, body)

    def test_framing(self):
        big = b"A: " + b"a" * 70_000
        cases = [
            ("length and chunked", head("Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n", 400),
            ("chunked and length", head("Transfer-Encoding: chunked", "Content-Length: 5") + b"0\r\n\r\n", 400),
            ("two lengths that differ", head("Content-Length: 5", "Content-Length: 6") + b"aaaaaa", 400),
            ("two lengths that agree", head("Content-Length: 5", "Content-Length: 5") + b"aaaaa", 400),
            ("length list", head("Content-Length: 5, 5") + b"aaaaa", 400),
            ("signed length", head("Content-Length: +5") + b"aaaaa", 400),
            ("negative length", head("Content-Length: -5") + b"aaaaa", 400),
            ("hex length", head("Content-Length: 0x5") + b"aaaaa", 400),
            ("endless length", head("Content-Length: 99999999999999999999") + b"a", 400),
            ("empty length", head("Content-Length:") + b"a", 400),
            ("two encodings", head("Transfer-Encoding: chunked", "Transfer-Encoding: chunked") + b"0\r\n\r\n", 400),
            ("identity", head("Transfer-Encoding: identity") + b"x", 501),
            ("gzip, chunked", head("Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n", 501),
            ("xchunked", head("Transfer-Encoding: xchunked") + b"0\r\n\r\n", 501),
            ("vertical tab", head("Transfer-Encoding: \x0bchunked") + b"0\r\n\r\n", 400),
            ("blank before the colon", head("Transfer-Encoding : chunked") + b"0\r\n\r\n", 400),
            ("folded line", head("X-A: b\r\n c") + b"", 400),
            ("folded length", head("Content-Length:\r\n 5") + b"aaaaa", 400),
            ("bare LF", b"POST /v1/chat/completions HTTP/1.1\nHost: x\n\n", 400),
            ("bare CR", head("X-A: b\rc"), 400),
            ("NUL", head("X-A: b\0c"), 400),
            ("no colon", head("nonsense"), 400),
            ("no name", head(": x"), 400),
            ("no Host", head(host=None), 400),
            ("two Hosts", head("Host: y"), 400),
            ("bad Host", head(host="Host: a/b@c"), 400),
            ("chunked in 1.0", head("Transfer-Encoding: chunked", start="POST /tokenize HTTP/1.0") + b"0\r\n\r\n", 400),
            ("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
            ("HTTP/9.9", b"GET /version HTTP/9.9\r\nHost: x\r\n\r\n", 505),
            ("no version", b"GET /version\r\nHost: x\r\n\r\n", 400),
            ("lower case version", b"GET /version http/1.1\r\nHost: x\r\n\r\n", 400),
            ("two blanks", b"GET  /version HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            ("method", b"G@T /version HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            ("target", b"GET version HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            ("escape", b"GET /v1/models/%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            ("escaped NUL", b"GET /v1/models/%00 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            ("TLS hello", bytes.fromhex("16030100c8010000c40303") + b"\n\n" + b"\0" * 40, 400),
            ("large header", head() [:-2] + big + b"\r\n\r\n", 431),
            ("many headers", head(*[f"X-{i}: 1" for i in range(150)]), 431),
            ("long target", b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
            ("endless target", b"GET /" + b"a" * 70_000, 414),
            ("expectation", head("Expect: the-unexpected", "Content-Length: 1") + b"x", 417),
            ("large body", head("Content-Length: 99999999"), 413),
            ("chunk size", head("Transfer-Encoding: chunked") + b"zz\r\n", 400),
            ("chunk overflow", head("Transfer-Encoding: chunked") + b"fffffffffffffffff\r\n", 400),
            ("chunk beyond the limit", head("Transfer-Encoding: chunked") + b"ffffff0\r\n", 413),
            ("chunk end", head("Transfer-Encoding: chunked") + b"1\r\nabc\r\n0\r\n\r\n", 400),
            ("chunk extension", head("Transfer-Encoding: chunked") + b"1;" + b"a" * 70_000, 431),
            ("form", b"POST /tokenize HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}", 415),
            ("gzip", head("Content-Encoding: gzip", "Content-Length: 2") + b"{}", 415),
            ("unknown path", b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", 404),
            ("dots", b"GET /v1/../v1/models HTTP/1.1\r\nHost: x\r\n\r\n", 404),
            ("method not taken", b"DELETE /v1/models HTTP/1.1\r\nHost: x\r\n\r\n", 405),
            ("GET of a POST", b"GET /v1/chat/completions HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        ]
        for name, raw, status in cases:
            with self.subTest(name):
                answer = exchange(self.server, raw)
                self.assert_error(answer, status)
                if status == 405:
                    self.assertIn("allow", answer[1])
        self.assert_serves()

    def test_after_a_framing_error_nothing_more_is_read(self):
        smuggled = b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n"
        with connect(self.server) as connection:
            connection.sendall(head("Content-Length: 4", "Transfer-Encoding: chunked") + b"0\r\n\r\n" + smuggled)
            data = read_all(connection)
        self.assertEqual(data.count(b"HTTP/1.1 "), 1)
        self.assertTrue(data.startswith(b"HTTP/1.1 400"))

    def test_pipelined_requests_are_answered_in_order(self):
        with connect(self.server) as connection:
            connection.sendall(b"GET /version HTTP/1.1\r\nHost: x\r\nX-Request-Id: one\r\n\r\n"
                               + head(f"Content-Length: {len(SMALL)}", "X-Request-Id: two") + SMALL
                               + b"GET /version HTTP/1.1\r\nHost: x\r\nX-Request-Id: three\r\nConnection: close\r\n\r\n")
            data = read_all(connection)
        self.assertEqual(re.findall(rb"X-Request-Id: (\w+)", data), [b"one", b"two", b"three"])
        self.assertEqual(data.count(b"HTTP/1.1 200"), 3)

    def test_expect_continue_chunked_and_byte_by_byte(self):
        with connect(self.server) as connection:
            connection.sendall(head("Transfer-Encoding: chunked", "Expect: 100-continue"))
            self.assertIn(b"100 Continue", connection.recv(1000))
            for byte in SMALL:
                connection.sendall(b"1;x=y\r\n" + bytes([byte]) + b"\r\n")
            connection.sendall(b"0\r\nTrailer: x\r\n\r\n")
            self.assertEqual(read_response(connection)[0], 200)

    def test_request_id(self):
        self.assertEqual(post(self.server, "/tokenize", {"prompt": "x"}, ["X-Request-Id: my.id-1"])[1]["x-request-id"], "my.id-1")
        for bad in ("a b", "é", "a" * 200, "<x>"):
            self.assertNotEqual(post(self.server, "/tokenize", {"prompt": "x"}, [f"X-Request-Id: {bad}"])[1]["x-request-id"], bad)

    def test_json(self):
        deep = 100_000
        cases = [
            b"[" * deep, b'{"a":' * deep, b"[" * deep + b"]" * deep, b'{"messages":' + b"[" * deep + b"]" * deep + b"}",
            b"", b"null", b"[]", b"3", b'"x"', b"{", b"{}}", b'{"a":1,}', b"{'a':1}", b'{"a":NaN}', b'{"a":1e999}',
            b'{"a":"\xff\xfe"}', b'{"a":"\\ud800"}', b"\xef\xbb\xbf{", b'{"a":"' + b"\\" * 10_001, b"]" * deep,
            b"{" + b",".join(b'"%d":[]' % i for i in range(1000)), b'{"a":[' + b"1," * 1_200_000 + b"1]}", b"\0" * 1000,
        ]
        for body in cases:
            with self.subTest(body[:30]):
                self.assert_error(post(self.server, "/v1/chat/completions", body), 400)
        if not GIVEN:
            self.assertLess(self.server.rss_bytes(), 400 << 20)
        self.assert_serves()

    def test_wrong_types_in_every_field(self):
        wrong = {
            "model": [1, [], {}, True], "messages": ["x", 1, {}, [], [1], [{}], [{"role": "x", "content": "y"}], [{"role": "user"}]],
            "temperature": ["x", [], {}, True, -0.1, 2.1, 1e300], "top_p": ["x", 0, 1.1, -1, []], "top_k": ["x", 1.5, -2, [], 2**63],
            "min_p": [-0.1, 1, "x"], "repetition_penalty": [0, -1, 3, "x"], "presence_penalty": [-2.1, 2.1, "x"],
            "frequency_penalty": [-2.1, 2.1, []], "seed": ["x", 1.5, {}, 2**64], "n": [0, -1, 129, 1.5, "x", []],
            "max_tokens": [0, -1, 10**9, "x", 1.5], "max_completion_tokens": [0, "x", 10**9], "min_tokens": [-1, "x", 10],
            "stop": [1, {}, [1], [""], "", ["a"] * 17, "a" * 2000], "stop_token_ids": ["x", [-1], [10**9], ["x"], [1.5]],
            "logit_bias": ["x", [], {"x": 1}, {"-1": 1}, {"999999999": 1}, {"1": 101}, {"1": "x"}],
            "logprobs": ["x", 1, []], "top_logprobs": [-1, 21, "x", 1], "stream": ["x", 1, []], "stream_options": ["x", 1, {"include_usage": True}],
            "ignore_eos": ["x", 1], "skip_special_tokens": ["x", 1], "return_token_ids": ["x", 1], "priority": [101, -101, "x"],
            "deadline_ms": [0, -1, "x", 10**9], "prompt_cache_key": [1, "k" * 300], "chat_template_kwargs": ["x", []],
            "add_generation_prompt": ["x"], "continue_final_message": ["x"],
        }
        for field, values in wrong.items():
            for value in values:
                with self.subTest(f"{field}={value!r}"[:80]):
                    error = self.assert_error(post(self.server, "/v1/chat/completions", chat_with(**{field: value})),
                                              404 if field == "model" and isinstance(value, str) else 400)
                    self.assertTrue((error["param"] or "").startswith(field), error)
        for prompt in (1, {}, [], [[]], [1, "x"], ["x", 1], [-1], [10**9], [[1], "x"], [1.5], None, True):
            with self.subTest(f"prompt={prompt!r}"):
                self.assert_error(post(self.server, "/v1/completions", {"model": MODEL, "prompt": prompt}), 400, "prompt")
        self.assert_error(post(self.server, "/v1/completions", {"model": MODEL, "prompt": "x", "logprobs": True}), 400, "logprobs")
        for path, body in (("/tokenize", {}), ("/tokenize", {"prompt": 1}), ("/tokenize", {"messages": 1}),
                           ("/detokenize", {}), ("/detokenize", {"tokens": ["x"]}), ("/detokenize", {"tokens": 1})):
            with self.subTest(f"{path} {body}"):
                self.assert_error(post(self.server, path, body), 400)

    def test_fields_that_are_not_built_are_refused_by_name(self):
        for field, value in {"tools": [{"type": "function"}], "tool_choice": "required", "functions": [{}], "audio": {}, "echo": True,
                             "response_format": {"type": "json_object"}, "suffix": "x", "best_of": 3, "modalities": ["audio"],
                             "guided_json": {}, "prompt_logprobs": 1, "include_stop_str_in_output": True}.items():
            with self.subTest(field):
                self.assert_error(post(self.server, "/v1/chat/completions", chat_with(**{field: value})), 400, field)
        neutral = {"tools": [], "tool_choice": "none", "response_format": {"type": "text"}, "echo": False, "suffix": None, "best_of": 1,
                   "modalities": ["text"], "user": "u", "metadata": {"a": "b"}}
        status, headers, body = post(self.server, "/v1/chat/completions", chat_with(**neutral))
        self.assertEqual(status, 200, body)
        self.assertEqual(headers["x-leadline-ignored-fields"], "metadata, user")
        self.assert_error(post(self.server, "/v1/chat/completions", chat_with(model="other")), 404, "model")

    def test_a_body_that_never_comes_is_408(self):
        started = time.monotonic()
        self.assert_error(exchange(self.server, head("Content-Length: 10") + b"{", 100), 408)
        self.assert_error(exchange(self.server, b"GET /version HTTP/1.1\r\nHost:", 100), 408)
        if not GIVEN:
            self.assertLess(time.monotonic() - started, 10)

    def test_600_slow_connections(self):
        slow, stop = [], threading.Event()
        partial = head("Content-Length: 1000")
        for i in range(600):
            connection = connect(self.server)
            connection.sendall(partial[:40] if i % 3 == 0 else partial if i % 3 == 1 else b"")
            slow.append(connection)

        def drip():
            at = 40
            while not stop.wait(0.5):
                for connection in slow[::3]:
                    try:
                        connection.sendall(partial[at:at + 1])
                    except OSError:
                        pass
                at += 1

        dripper = threading.Thread(target=drip)
        dripper.start()
        try:
            worst = 0.0
            for _ in range(20):
                started = time.monotonic()
                self.assert_serves()
                worst = max(worst, time.monotonic() - started)
            self.assertLess(worst, 2.0)
            if not GIVEN:
                self.assertLess(self.server.rss_bytes(), 400 << 20)
                deadline = time.monotonic() + 20  # every one of them is ended by a timeout, dripping or not
                open_left = set(slow)
                while open_left and time.monotonic() < deadline:
                    for connection in list(open_left):
                        connection.settimeout(0.02)
                        try:
                            if not connection.recv(65536):
                                open_left.discard(connection)
                        except TimeoutError:
                            pass
                        except OSError:
                            open_left.discard(connection)
                self.assertFalse(open_left, f"{len(open_left)} still open")
        finally:
            stop.set()
            dripper.join()
            for connection in slow:
                connection.close()

    def test_streams_that_are_dropped(self):
        body = json.dumps(chat_with(stream=True)).encode()
        for _ in range(50):
            connection = connect(self.server)
            connection.sendall(head(f"Content-Length: {len(body)}") + body)
            connection.recv(10)
            connection.close()
        self.assert_serves()


@unittest.skipIf(GIVEN, "LEADLINE_URL is set: these tests start their own servers")
class OwnServers(unittest.TestCase):
    def start(self, *flags):
        server = Server(*flags)
        self.addCleanup(server.stop)
        return server

    def test_no_route_without_a_key(self):
        with tempfile.NamedTemporaryFile("w") as keys:
            keys.write("# keys\nalice:secret-key-1\nsecret-key-2\n")
            keys.flush()
            server = self.start("--api-key-file", keys.name)
            paths = json.loads(self.get(server, "/openapi.json", "secret-key-1")[2])["paths"]
            self.assertGreaterEqual(len(paths), 8)
            for path, methods in paths.items():
                for method in [*methods, "OPTIONS", "DELETE"]:
                    for key in (None, "secret-key-3", "secret-key-", "", "alice:secret-key-1"):
                        with self.subTest(f"{method} {path} {key}"):
                            status, headers, body = self.get(server, path, key, method.upper())
                            self.assertEqual(status, 401)
                            self.assertEqual(headers["www-authenticate"], "Bearer")
                            self.assertEqual(json.loads(body)["error"]["code"], "invalid_api_key")
            self.assertEqual(self.get(server, "/nothing", None)[0], 401)
            self.assertEqual(self.get(server, "/version", "secret-key-2")[0], 200)
            keys.write("later:secret-key-4\n")
            keys.flush()
            deadline = time.monotonic() + 10
            while self.get(server, "/version", "secret-key-4")[0] != 200:
                self.assertLess(time.monotonic(), deadline, "the key file was not read again")
                time.sleep(0.1)

    @staticmethod
    def get(server, path, key, method="GET"):
        auth = "" if key is None else f"Authorization: Bearer {key}\r\n"
        return exchange(server, f"{method} {path} HTTP/1.1\r\nHost: x\r\n{auth}Content-Length: 0\r\n\r\n".encode())

    def test_connections_beyond_the_cap_push_out_silent_ones(self):
        server = self.start("--max-connections", "50")
        silent = [connect(server) for _ in range(200)]
        status, _, _ = post(server, "/v1/chat/completions", CHAT)
        self.assertEqual(status, 200)
        for connection in silent:
            connection.close()

    def test_queue_is_bounded_and_says_when_to_come_back(self):
        server = self.start("--slots", "1", "--max-waiting", "4", "--step-ms", "50")
        answers = []

        def ask():
            answers.append(post(server, "/v1/chat/completions", chat_with(max_tokens=20)))

        threads = [threading.Thread(target=ask) for _ in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        refused = [answer for answer in answers if answer[0] == 429]
        self.assertGreater(len(refused), 5)
        self.assertEqual(len(refused) + sum(answer[0] == 200 for answer in answers), 40)
        self.assertTrue(all(int(answer[1]["retry-after"]) >= 1 for answer in refused))

    def test_tls_survives_plain_text_and_reloads(self):
        with tempfile.TemporaryDirectory() as folder:
            def make(name):
                subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
                                f"{folder}/key", "-out", f"{folder}/cert", "-subj", f"/CN={name}", "-days", "1"], check=True,
                               capture_output=True)
            make("first")
            server = self.start("--tls-cert", f"{folder}/cert", "--tls-key", f"{folder}/key")
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

            def ask():
                with context.wrap_socket(connect(server)) as connection:
                    certificate = connection.getpeercert(True)
                    connection.sendall(head(f"Content-Length: {len(SMALL)}") + SMALL)
                    return certificate, read_response(connection)[0]
            with connect(server) as plain:
                plain.sendall(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
                read_all(plain)
            first, status = ask()
            self.assertEqual(status, 200)
            make("second")
            deadline = time.monotonic() + 10
            while ask()[0] == first:
                self.assertLess(time.monotonic(), deadline, "the certificate was not read again")
                time.sleep(0.1)

    def test_drain_finishes_streams_and_takes_nothing_new(self):
        server = self.start("--step-ms", "40")
        body = json.dumps(chat_with(stream=True, max_tokens=100)).encode()
        with connect(server, 20) as connection:
            connection.sendall(head(f"Content-Length: {len(body)}") + body)
            data = connection.recv(1000)
            server.process.terminate()
            time.sleep(0.2)
            with self.assertRaises(OSError):
                connect(server)
            data += read_all(connection)
        self.assertIn(b"data: [DONE]", data)
        self.assertEqual(server.process.wait(10), 0)

    def test_drain_insists(self):
        server = self.start("--step-ms", "500", "--drain-ms", "300")
        body = json.dumps(chat_with(stream=True, max_tokens=100)).encode()
        with connect(server, 20) as connection:
            connection.sendall(head(f"Content-Length: {len(body)}") + body)
            connection.recv(1000)
            server.process.terminate()
            data = read_all(connection)
        self.assertIn(b'"service_unavailable_error"', data)
        self.assertEqual(server.process.wait(10), 0)


if __name__ == "__main__":
    if not GIVEN and not os.path.exists(SERVER):
        sys.exit(f"{SERVER} is not built")
    unittest.main()
