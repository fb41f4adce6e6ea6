"""RedisRules: a connection to a Redis that a deployment started: what the store sends is allowed, the rest is not."""
import socket
import time


class RedisRules:
    def __init__(self, port, process, timeout=20):
        deadline = time.monotonic() + timeout
        while True:
            try:
                self.link = socket.create_connection(("127.0.0.1", port), timeout=5)
                return
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def close(self):
        self.link.close()

    def say(self, *words):
        self.link.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in map(str.encode, words)))
        return self.link.recv(65536).decode()

    def check(self, test, password):
        test.assertRegex(self.say("GET", "leadline:x"), "^-NOAUTH")
        test.assertRegex(self.say("AUTH", "default", "wrong"), "^-WRONGPASS")
        test.assertEqual(self.say("AUTH", "default", password), "+OK\r\n")
        test.assertEqual(self.say("SET", "leadline:kv:1:k", "v", "EX", "60"), "+OK\r\n")
        test.assertEqual(self.say("GET", "leadline:kv:1:k"), "$1\r\nv\r\n")
        test.assertEqual(self.say("UNLINK", "leadline:kv:1:k"), ":1\r\n")
        test.assertRegex(self.say("SET", "other", "v"), "^-NOPERM")
        for forbidden in (["FLUSHALL"], ["CONFIG", "GET", "*"], ["KEYS", "*"], ["SHUTDOWN"]):
            test.assertRegex(self.say(*forbidden), "^-NOPERM", forbidden)
        test.assertIn("maxmemory_policy:allkeys-lfu", self.say("INFO", "memory"))
