"""What the model is told about tools, and the grammars of their calls."""

from __future__ import annotations

import json

import llguidance
import pytest

from localqwen.params import ChatMessage
from localqwen.server.chat_schema import ChatRequest
from localqwen.server.tools import Tool, call_text, grammar, with_tools

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER = Tool("weather", "Tells the weather.", CITY)
STRICT = Tool("weather", None, CITY, strict=True)
NOW = Tool("now")
CALL = call_text("weather", '{"city": "Paris"}')
WRONG = call_text("weather", '{"town": "Paris"}')
CALL_NOW = call_text("now", "{}")

# As the chat template of Qwen2.5-7B-Instruct renders it, to the end of the system's message.
TOLD = """Be brief.

# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
{"type": "function", "function": {"name": "now"}}
</tools>

For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:
<tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call>"""


def accepts(text: str, lark: str) -> bool:
    """Whether a grammar allows a text as a whole answer."""
    source = llguidance.LLMatcher.grammar_from_lark(lark)
    assert not llguidance.LLMatcher.validate_grammar(source, None)
    matcher = llguidance.LLMatcher(llguidance.LLTokenizer("byte"), source)
    data = list(text.encode())
    return bool(matcher.try_consume_tokens(data) == len(data) and matcher.is_accepting())


def test_the_system_message() -> None:
    user = ChatMessage(role="user", content="What time is it?")
    system = ChatMessage(role="system", content="Be brief.")
    assert with_tools([system, user], [NOW]) == [{"role": "system", "content": TOLD}, user]
    (added, _) = with_tools([user], [NOW])
    assert added["content"].startswith("You are a helpful assistant.\n\n# Tools")
    assert with_tools([user], []) == [user]


def test_a_signature_is_the_callers_schema() -> None:
    function = {"name": "weather", "description": "Tells the weather.", "parameters": CITY}
    assert json.loads(WEATHER.signature) == {"type": "function", "function": function}
    assert '"name": "wéther"' in Tool("wéther").signature


def test_a_conversation_with_calls() -> None:
    body = ChatRequest.model_validate(
        {
            "messages": [
                {"role": "user", "content": "Weather in Paris and Rome?"},
                {
                    "role": "assistant",
                    "content": "I look.",
                    "tool_calls": [
                        {
                            "id": "1",
                            "type": "function",
                            "function": {"name": "weather", "arguments": '{"city":"Paris"}'},
                        },
                        {
                            "id": "2",
                            "type": "function",
                            "function": {"name": "weather", "arguments": '{"city":"Rome"}'},
                        },
                    ],
                },
                {"role": "tool", "tool_call_id": "1", "content": "rain"},
                {"role": "tool", "tool_call_id": "2", "content": [{"type": "text", "text": "sun"}]},
                {"role": "tool", "tool_call_id": "3", "content": "fog"},
            ],
            "tools": [{"type": "function", "function": {"name": "now"}}],
            "tool_choice": "none",
        }
    )
    _, assistant, results = body.chat_messages
    assert assistant["content"] == (
        'I look.\n<tool_call>\n{"name": "weather", "arguments": {"city":"Paris"}}\n</tool_call>'
        '\n<tool_call>\n{"name": "weather", "arguments": {"city":"Rome"}}\n</tool_call>'
    )
    assert results["role"] == "user"
    assert results["content"] == "\n".join(
        f"<tool_response>\n{word}\n</tool_response>" for word in ("rain", "sun", "fog")
    )


@pytest.mark.parametrize(
    ("text", "parallel", "allowed"),
    [
        (CALL, True, True),
        (f"{CALL}\n{CALL_NOW}", True, True),
        (CALL, False, True),
        (f"{CALL}\n{CALL_NOW}", False, False),
        (WRONG, True, False),
        ("Hello", True, False),
        (call_text("other", "{}"), True, False),
        (call_text("now", '{"a": 1}'), True, False),
    ],
)
def test_forced_calls(text: str, parallel: bool, allowed: bool) -> None:
    lark = grammar([WEATHER, NOW], parallel=parallel, forced=True)
    assert lark is not None
    assert accepts(text, lark) == allowed


@pytest.mark.parametrize(
    ("text", "allowed"), [(CALL, True), ('{"a": 1}', True), ("Hello", False), (WRONG, False), ("[1]", False)]
)
def test_calls_or_json(text: str, allowed: bool) -> None:
    lark = grammar([WEATHER], parallel=True, forced=False, answer={"type": "object"})
    assert lark is not None
    assert accepts(text, lark) == allowed


@pytest.mark.parametrize(
    ("text", "parallel", "allowed"),
    [
        ("Hello", True, True),
        (CALL, True, True),
        (f"I look.\n{CALL}\n{CALL} Done", True, True),
        (WRONG, True, False),
        (call_text("now", '{"any": 1}'), True, True),
        ("a <tool_call> b", True, False),
        ("Hello", False, True),
        (f"I look.\n{CALL}", False, True),
        (f"{CALL}\n{CALL}", False, False),
    ],
)
def test_strict_tools_in_free_text(text: str, parallel: bool, allowed: bool) -> None:
    lark = grammar([STRICT, NOW], parallel=parallel, forced=False)
    assert lark is not None
    assert accepts(text, lark) == allowed


def test_without_strict_tools_text_is_free() -> None:
    assert grammar([WEATHER, NOW], parallel=True, forced=False) is None
