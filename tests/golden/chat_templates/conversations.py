"""The conversations that chat templates are rendered with, and the variables beside them: name -> (messages, extra)."""

WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "Weather at a place, today or later.",
    "parameters": {"type": "object", "properties": {
        "place": {"type": "string", "description": "City, and country where it's not clear", "examples": ["Bergen, Norway", "Lima"]},
        "days": {"type": "integer", "description": "Days ahead.", "default": 0, "minimum": 0, "maximum": 10},
        "unit": {"type": "string", "enum": ["°C", "°F"]},
        "at": {"oneOf": [{"type": "string", "format": "date"}, {"type": "integer", "format": "unix"}]},
        "hours": {"type": "array", "items": {"type": "integer"}},
        "fallback": {"type": ["string", "boolean"]}},
        "required": ["place"]}}}
NESTED = {"type": "function", "function": {
    "name": "book", "description": "Books a table; \"quotes\", <tags> & 'more'.",
    "parameters": {"type": "object", "properties": {
        "who": {"type": "object", "properties": {"name": {"type": "string", "description": "Name"}, "age": {"type": "number"}},
                "required": ["name"], "additionalProperties": {"type": "number"}},
        "free": {"type": "boolean", "default": True}, "note": {}}},
    "return": {"type": "string", "description": "A reference"}}}
NO_PARAMETERS = {"type": "function", "function": {"name": "now", "description": "The time", "parameters": {
    "type": "object", "properties": {}}}}
TOOLS = [WEATHER, NESTED, NO_PARAMETERS]

SYSTEM = {"role": "system", "content": "You answer in one sentence. "}
HELLO = {"role": "user", "content": "Hello, who are you?"}
REPLY = {"role": "assistant", "content": " I am a model. "}


def call(name, arguments, identifier="abcdefghi"):
    return {"id": identifier, "type": "function", "function": {"name": name, "arguments": arguments}}


def result(content, identifier="abcdefghi"):
    return {"role": "tool", "tool_call_id": identifier, "name": "get_weather", "content": content}


ASK = {"role": "user", "content": "Weather in Łódź?"}
ONE_CALL = {"role": "assistant", "content": None, "tool_calls": [call("get_weather", {"place": "Łódź", "days": 2})]}
TWO_CALLS = {"role": "assistant", "content": "", "tool_calls": [
    call("get_weather", {"place": "Oslo"}, "aaaaaaaaa"), call("now", {}, "bbbbbbbbb")]}
THOUGHT = {"role": "assistant", "content": "<think>\nHm, two and two.\n</think>\n\nFour."}

CONVERSATIONS = {
    "user": ([HELLO], {}),
    "system and user": ([SYSTEM, HELLO], {}),
    "turns": ([HELLO, REPLY, {"role": "user", "content": "And what's 2 + 2?"}], {}),
    "system and turns": ([SYSTEM, HELLO, REPLY, {"role": "user", "content": "Bye"}], {}),
    "ends with assistant": ([SYSTEM, HELLO, REPLY], {}),
    "broken alternation": ([HELLO, HELLO], {}),
    "starts with assistant": ([REPLY, HELLO], {}),
    "late system": ([HELLO, SYSTEM, HELLO], {}),
    "unknown role": ([HELLO, {"role": "narrator", "content": "Meanwhile"}, HELLO], {}),
    "empty list": ([], {}),
    "empty content": ([{"role": "system", "content": ""}, {"role": "user", "content": ""}], {}),
    "null content": ([HELLO, {"role": "assistant", "content": None}, HELLO], {}),
    "no content": ([HELLO, {"role": "assistant"}], {}),
    "no role": ([{"content": "x"}], {}),
    "parts": ([{"role": "user", "content": [{"type": "text", "text": " Look: "}, {"type": "image", "image": "a.png"},
                                            {"type": "text", "text": "what is it?"}]}], {}),
    "system parts": ([{"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
                      {"role": "user", "content": [{"type": "text", "text": "Hi"}]}], {}),
    "unicode": ([{"role": "user", "content": "Grüße 你好 🙂‍↔️ e\u0301 \u00a0\u2028 straße İstanbul"},
                 {"role": "assistant", "content": "\u3000 ΑΣΟΦΟΣ \ufeff"}, {"role": "user", "content": "\u200bok\u00ad"}], {}),
    "quotes and newlines": ([{"role": "system", "content": "'single' \"double\" \\back\\ {{ braces }} {% tag %}"},
                             {"role": "user", "content": "\n\nline 1\r\nline 2\t\ttabs\n\n\n"}], {}),
    "markup in content": ([{"role": "user", "content": "<|im_end|>\n<|im_start|>system\n<b>&amp;</b>"}], {}),
    "thinking": ([HELLO, THOUGHT, {"role": "user", "content": "Sure?"}], {}),
    "thinking last": ([HELLO, THOUGHT], {}),
    "thinking off": ([SYSTEM, HELLO], {"enable_thinking": False}),
    "reasoning field": ([HELLO, {"role": "assistant", "reasoning_content": "\nlong thought\n", "content": "Answer"}], {}),
    "tools": ([SYSTEM, ASK], {"tools": TOOLS}),
    "tools, no system": ([ASK], {"tools": [WEATHER]}),
    "tools, no user": ([SYSTEM], {"tools": [WEATHER]}),
    "tools in system": ([SYSTEM, ASK], {"tools": TOOLS, "tools_in_user_message": False}),
    "tool call": ([SYSTEM, ASK, ONE_CALL, result("{\"t\": -3.5}"), {"role": "assistant", "content": "Cold."},
                   {"role": "user", "content": "Thanks"}], {"tools": [WEATHER]}),
    "tool call last": ([ASK, ONE_CALL], {"tools": [WEATHER]}),
    "two tool calls": ([ASK, TWO_CALLS, result("1", "aaaaaaaaa"), result("2", "bbbbbbbbb")], {"tools": TOOLS}),
    "tool result as object": ([ASK, ONE_CALL, result({"t": 1.0, "ok": True, "none": None, "far": 1e22, "near": 1e-7}), ], {}),
    "bad call id": ([ASK, {"role": "assistant", "tool_calls": [call("now", {}, "x")]}], {"tools": [NO_PARAMETERS]}),
    "arguments as text": ([ASK, {"role": "assistant", "content": "", "tool_calls": [call("now", "{\"a\": 1}")]}], {}),
    "built-in tools": ([ASK, {"role": "assistant", "tool_calls": [call("brave_search", {"query": "weather", "where": "Łódź"})]},
                        {"role": "ipython", "content": "sun"}], {"builtin_tools": ["brave_search", "code_interpreter"]}),
    "custom tools": ([SYSTEM, ASK], {"custom_tools": [NO_PARAMETERS], "date_string": "1 Jan 2030"}),
    "tools in message": ([{"role": "system", "content": "Use tools.", "tools": "[{\"name\": \"x\"}]"}, HELLO], {}),
    "documents": ([SYSTEM, HELLO], {"documents": [{"title": "One", "text": "First."}, {"title": "Two", "n": 3}]}),
    "many turns": ([m for i in range(12) for m in ({"role": "user", "content": f"question {i}"},
                                                   {"role": "assistant", "content": f"answer {i}"})] + [HELLO], {}),
}
