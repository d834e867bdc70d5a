"""Tools in Hermes form, as Qwen2 was trained to see and to call them. Pure.

The texts are those of Qwen's own chat templates (the one of Qwen2.5-Instruct's tokenizer_config.json). They are
rendered here, because Qwen2's published template knows no tools.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from localqwen.params import ChatMessage

OPEN = "<tool_call>"
CLOSE = "</tool_call>"
MAX_CALLS = 16  # of one answer that has to call: a small model repeats itself until the context is full
DEFAULT_SYSTEM = "You are a helpful assistant."  # what Qwen2's template says where nobody else does
INSTRUCTION = """

# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
{signatures}
</tools>

For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:
<tool_call>
{{"name": <function-name>, "arguments": <args-json-object>}}
</tool_call>"""
# The separators that the templates' tojson uses, and no other white space: the form of the training data.
JSON_FORM = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call; ``strict`` means that its arguments must follow ``parameters``."""

    name: str
    description: str | None = None
    parameters: Mapping[str, Any] | None = None
    strict: bool = False

    @property
    def signature(self) -> str:
        """The line that tells the model about the tool."""
        function = {"name": self.name, "description": self.description, "parameters": self.parameters}
        given = {key: value for key, value in function.items() if value is not None}
        return json.dumps({"type": "function", "function": given}, ensure_ascii=False)


def with_tools(messages: Sequence[ChatMessage], tools: Sequence[Tool]) -> list[ChatMessage]:
    """The messages with the tools told in the system's message, which is added where there is none."""
    if not tools:
        return list(messages)
    told = INSTRUCTION.format(signatures="\n".join(tool.signature for tool in tools))
    first, rest = (messages[0], messages[1:]) if messages[0]["role"] == "system" else (None, messages)
    system = first["content"] if first else DEFAULT_SYSTEM
    return [ChatMessage(role="system", content=system + told), *rest]


def call_text(name: str, arguments: str) -> str:
    """One call as the model writes it; ``arguments`` is JSON text and stays as it is."""
    return f'{OPEN}\n{{"name": {json.dumps(name, ensure_ascii=False)}, "arguments": {arguments}}}\n{CLOSE}'


def assistant_text(content: str, calls: Sequence[tuple[str, str]]) -> str:
    """An assistant's message as the model generated it, from its text and its calls (names and arguments)."""
    return "\n".join([*([content] if content else []), *(call_text(*call) for call in calls)])


def response_text(result: str) -> str:
    """What a tool answered, as the model is told in a user's message."""
    return f"<tool_response>\n{result}\n</tool_response>"


def grammar(
    tools: Sequence[Tool], *, parallel: bool, forced: bool, answer: Mapping[str, Any] | None = None
) -> str | None:
    """A grammar in llguidance's Lark for the whole answer, or ``None`` where anything may be said.

    ``forced`` demands calls and nothing else. Otherwise the model chooses: an ``answer`` schema then says what the text
    must be when it calls nothing, and without one, text is free and only the arguments of strict tools are held to
    their schemas. ``parallel`` allows more than one call.
    """
    if forced or answer is not None:
        start = "start: calls" if forced else f"start: answer | calls\nanswer: %json {json.dumps(answer)}"
        more = f' ("\\n" call){{0,{MAX_CALLS - 1}}}' if parallel else ""
        return f'{start}\ncalls: call{more}\ncall: "{OPEN}" rest\n{_rules(tools, schemas_of_all=True)}'
    if any(tool.strict for tool in tools):
        # The lazy lexeme ends where the tag does, so that no text can hold the tag.
        start = "start: (head rest)* TEXT" if parallel else "start: TEXT | head rest"
        return f'{start}\nhead[lazy]: TEXT "{OPEN}"\nTEXT: /(.|\\n)*/\n{_rules(tools, schemas_of_all=False)}'
    return None


def _rules(tools: Sequence[Tool], *, schemas_of_all: bool) -> str:
    """What follows an opening tag: a line for each tool and one for its arguments."""
    lines = [f'rest: "\\n" ({" | ".join(f"tool_{i}" for i in range(len(tools)))}) "\\n{CLOSE}"']
    for i, tool in enumerate(tools):
        head = json.dumps(f'{{"name": {json.dumps(tool.name)}, "arguments": ')
        schema = _parameters(tool) if schemas_of_all or tool.strict else {"type": "object"}
        lines += [
            f'tool_{i}: {head} args_{i} "}}"',
            f"args_{i}: %json {json.dumps({**schema, 'x-guidance': JSON_FORM})}",
        ]
    return "\n".join(lines)


def _parameters(tool: Tool) -> Mapping[str, Any]:
    if tool.parameters is None:  # OpenAI: a function without parameters has an empty list of them
        return {"type": "object", "properties": {}, "additionalProperties": False}
    return {"type": "object", **tool.parameters}
