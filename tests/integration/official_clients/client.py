"""The Python package `openai`, unmodified, against a running server. Environment: LEADLINE_BASE_URL (…/v1), LEADLINE_API_KEY,
LEADLINE_MODEL, LEADLINE_BAD_KEY (set where keys are required). Prints "ok NAME" or "FAILED NAME: why" a line."""
import asyncio
import os
import sys
import traceback

import openai

BASE_URL, API_KEY, MODEL = (os.environ["LEADLINE_" + name] for name in ("BASE_URL", "API_KEY", "MODEL"))
client = openai.OpenAI(base_url=BASE_URL, api_key=API_KEY, max_retries=0, timeout=60)
MESSAGES = [{"role": "user", "content": "Hello, who are you?"}]
GREEDY = {"model": MODEL, "temperature": 0, "seed": 1}


def rejects(call, kind, status):
    try:
        call()
    except kind as error:
        assert error.status_code == status, error
        return error
    raise AssertionError(f"no {kind.__name__}")


def models():
    assert MODEL in [one.id for one in client.models.list()]
    assert client.models.retrieve(MODEL).object == "model"


def chat():
    answer = client.chat.completions.create(**GREEDY, messages=MESSAGES, max_tokens=12)
    choice = answer.choices[0]
    assert answer.object == "chat.completion" and answer.model == MODEL
    assert choice.message.role == "assistant" and isinstance(choice.message.content, str)
    assert choice.finish_reason in ("stop", "length")
    usage = answer.usage
    assert usage.prompt_tokens > 0 and 0 < usage.completion_tokens <= 12
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert usage.prompt_tokens_details.cached_tokens >= 0


def chat_stream_equals_chat():
    whole = client.chat.completions.create(**GREEDY, messages=MESSAGES, max_tokens=16)
    text, finish, usage = "", None, None
    for chunk in client.chat.completions.create(**GREEDY, messages=MESSAGES, max_tokens=16, stream=True,
                                                stream_options={"include_usage": True}):
        assert chunk.object == "chat.completion.chunk"
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
    assert (text, finish) == (whole.choices[0].message.content, whole.choices[0].finish_reason), (text, whole)
    assert usage.completion_tokens == whole.usage.completion_tokens


def stream_helper():
    kinds, final = set(), None
    try:
        with client.chat.completions.stream(**GREEDY, messages=MESSAGES, max_tokens=8) as stream:
            for event in stream:
                kinds.add(event.type)
            final = stream.get_final_completion()
    except openai.LengthFinishReasonError as error:  # the helper's own word for finish_reason "length"
        final = error.completion
    assert "chunk" in kinds and isinstance(final.choices[0].message.content, str)


def completions_take_four_prompt_forms():
    def ask(prompt):
        answer = client.completions.create(**GREEDY, prompt=prompt, max_tokens=4)
        return [c.text for c in sorted(answer.choices, key=lambda c: c.index)], answer.usage.prompt_tokens

    (one,), _ = ask("The capital of")
    two, _ = ask(["The capital of", "Two and"])
    (ids,), count = ask([10, 11, 12])
    lists, total = ask([[10, 11, 12], [13, 14]])
    assert two[0] == one and len(two) == 2
    assert lists[0] == ids and (count, total) == (3, 5)


def completion_stream():
    pieces = [chunk.choices[0].text for chunk in
              client.completions.create(**GREEDY, prompt="The capital of", max_tokens=6, stream=True) if chunk.choices]
    whole = client.completions.create(**GREEDY, prompt="The capital of", max_tokens=6)
    assert "".join(pieces) == whole.choices[0].text


def chat_logprobs():
    answer = client.chat.completions.create(**GREEDY, messages=MESSAGES, max_tokens=5, logprobs=True, top_logprobs=3)
    content = answer.choices[0].logprobs.content
    assert len(content) == answer.usage.completion_tokens
    for token in content:
        assert token.logprob <= 0 and len(token.top_logprobs) == 3
        assert abs(token.top_logprobs[0].logprob - token.logprob) < 1e-6
        assert bytes(token.bytes).decode("utf-8", "replace") == token.token or "\ufffd" in token.token or token.token


def completion_logprobs():
    answer = client.completions.create(**GREEDY, prompt="The capital of", max_tokens=4, logprobs=2)
    logprobs = answer.choices[0].logprobs
    assert len(logprobs.tokens) == len(logprobs.token_logprobs) == answer.usage.completion_tokens


def stop_string():
    text = client.completions.create(**GREEDY, prompt="One two three", max_tokens=24).choices[0].text
    at = min(4, len(text) - 2)
    stop = text[at:at + 2]
    if len(stop) == 2:
        cut = client.completions.create(**GREEDY, prompt="One two three", max_tokens=24, stop=stop).choices[0]
        assert (cut.text, cut.finish_reason) == (text[:text.index(stop)], "stop")


def two_choices_and_seeds():
    def ask():
        answer = client.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=8, n=2, temperature=1, seed=7)
        assert sorted(c.index for c in answer.choices) == [0, 1]
        return [c.message.content for c in sorted(answer.choices, key=lambda c: c.index)]

    assert ask() == ask()


def abort_of_a_stream():
    stream = client.chat.completions.create(**GREEDY, messages=MESSAGES, max_tokens=400, stream=True)
    next(iter(stream))
    stream.close()
    client.models.list()


def asynchronous_clients():
    async def main():
        async with openai.AsyncOpenAI(base_url=BASE_URL, api_key=API_KEY, max_retries=0) as other:
            answers = await asyncio.gather(*[other.chat.completions.create(**GREEDY, messages=MESSAGES, max_tokens=8)
                                             for _ in range(6)])
            return {answer.choices[0].message.content for answer in answers}

    assert len(asyncio.run(main())) == 1


def request_id_is_given():
    raw = client.chat.completions.with_raw_response.create(**GREEDY, messages=MESSAGES, max_tokens=1,
                                                           extra_headers={"X-Request-Id": "test-123"})
    assert raw.headers["x-request-id"] == "test-123"


def unknown_model_is_404():
    error = rejects(lambda: client.chat.completions.create(model="no-such-model", messages=MESSAGES), openai.NotFoundError, 404)
    assert error.code == "model_not_found", error


def wrong_parameter_is_400():
    def refused(param, **fields):
        error = rejects(lambda: client.chat.completions.create(**{"model": MODEL, "messages": MESSAGES, **fields}),
                        openai.BadRequestError, 400)
        assert str(error.param).startswith(param), error

    refused("temperature", temperature=-1)
    refused("n", n=100000)
    refused("messages", messages=[])
    refused("tools", tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}])
    refused("response_format", response_format={"type": "json_object"})


def wrong_key_is_401():
    bad = os.environ.get("LEADLINE_BAD_KEY")
    if bad:
        other = openai.OpenAI(base_url=BASE_URL, api_key=bad, max_retries=0)
        rejects(lambda: other.models.list(), openai.AuthenticationError, 401)


def main():
    failed = 0
    for test in (models, chat, chat_stream_equals_chat, stream_helper, completions_take_four_prompt_forms, completion_stream,
                 chat_logprobs, completion_logprobs, stop_string, two_choices_and_seeds, abort_of_a_stream, asynchronous_clients,
                 request_id_is_given, unknown_model_is_404, wrong_parameter_is_400, wrong_key_is_401):
        try:
            test()
            print(f"ok {test.__name__}", flush=True)
        except Exception:  # noqa: BLE001 - one failed check must not hide the others
            failed += 1
            print(f"FAILED {test.__name__}: {' | '.join(traceback.format_exc().splitlines())[-600:]}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
