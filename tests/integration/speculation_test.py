"""Speculation in a real server: answers equal those without, usage.speculation counts, a request may decline, the policy is exchanged
over the admin port while requests run, and what is wrong is refused and changes nothing."""
import json
import os
import tempfile
import threading
import unittest
import urllib.error
import urllib.request

from server_process import ServerProcess

PROMPTS = ["Zoe lives in Lima. Irene works as a plumber. Where does Zoe live?", "Count: one, two, three, one, two, three, one,",
           "Once upon a time there was a sailor. The sailor"]


def ask(server, prompt, **more):
    body = {"model": server.model, "messages": [{"role": "user", "content": prompt}], "max_tokens": 48, "temperature": 0.7, "seed": 7,
            "logprobs": True, **more}
    return server.post("/v1/chat/completions", body)


def tokens(answer):
    return [(t["token"], t["logprob"]) for t in answer["choices"][0]["logprobs"]["content"]]


def policy(url, body=None):
    request = urllib.request.Request(url + "/policy", data=None if body is None else body.encode(), method="GET" if body is None else "POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


class Speculation(unittest.TestCase):
    def test_the_same_answers_and_their_usage(self):
        with ServerProcess(extra=["--speculation", "off"]) as server:
            plain = [ask(server, prompt) for prompt in PROMPTS]
            self.assertTrue(all(answer["usage"].get("speculation", {}).get("rounds", 0) == 0 for answer in plain))
        with ServerProcess(ranks=2, extra=["--speculation", "static:4,4", "--draft-ranks", "1"]) as server:
            for prompt, want in zip(PROMPTS, plain):
                got = ask(server, prompt, speculation={"mode": "static"})
                self.assertEqual(tokens(got), tokens(want))
                usage = got["usage"]["speculation"]
                self.assertGreater(usage["rounds"], 0)
                self.assertGreaterEqual(usage["drafted"], usage["accepted"])
                declined = ask(server, prompt, speculation={"mode": "off"})
                self.assertEqual(tokens(declined), tokens(want))
                self.assertEqual(declined["usage"].get("speculation", {}).get("rounds", 0), 0)

    def test_a_policy_is_exchanged_while_requests_run(self):
        with ServerProcess(extra=["--speculation", "static:4,4"]) as server, tempfile.TemporaryDirectory() as directory:
            admin = server.worker_admin_url(0)
            want = tokens(ask(server, PROMPTS[0]))
            self.assertEqual(policy(admin)[1]["policy"], "static")
            broken = os.path.join(directory, "broken")
            with open(broken, "wb") as file:
                file.write(b"no policy")
            wrong, answers, stop = [], [], threading.Event()

            def go_on_asking():
                while not stop.is_set():
                    answers.append(tokens(ask(server, PROMPTS[0])))

            threads = [threading.Thread(target=go_on_asking) for _ in range(3)]
            for thread in threads:
                thread.start()
            for body, status, name in [("threshold:6,8,0.5", 200, "threshold"), ("file:" + broken, 400, "threshold"), ("nonsense", 400, "threshold"),
                                       ("off", 200, "off"), ("static:2,2\n", 200, "static")]:
                got = policy(admin, body)
                if got[0] != status or policy(admin)[1]["policy"] != name:
                    wrong.append((body, got))
            stop.set()
            for thread in threads:
                thread.join()
            self.assertEqual(wrong, [])
            self.assertGreater(len(answers), 0)
            self.assertTrue(all(answer == want for answer in answers))


if __name__ == "__main__":
    unittest.main()
