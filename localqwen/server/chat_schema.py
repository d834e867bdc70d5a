"""The body of ``POST /v1/chat/completions``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from localqwen.params import ChatMessage
from localqwen.server.schemas import FOREIGN, Generation, Schema, TextPart
from localqwen.server.tools import Tool, assistant_text, response_text, with_tools

Content = str | list[TextPart]
Name = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_.-]{1,64}$")]


class CalledFunction(Schema):
    """A function's name and the JSON text of its arguments."""

    name: Annotated[str, Field(min_length=1)]
    arguments: str


class PastCall(Schema):
    """A call that the model made earlier."""

    type: Literal["function"] = "function"
    function: CalledFunction


class PlainMessage(Schema):
    """A message of a person or of the program."""

    # "developer" is what OpenAI now calls the system's role.
    role: Literal["system", "developer", "user"]
    content: Content

    def to_chat_message(self) -> ChatMessage:
        """The message with its parts joined, as templates want it."""
        return ChatMessage(role="user" if self.role == "user" else "system", content=_joined(self.content))


class AssistantMessage(Schema):
    """An earlier answer, with what it said, or the tools that it called, or both."""

    role: Literal["assistant"]
    content: Content | None = None
    tool_calls: list[PastCall] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.content is None and not self.tool_calls:
            raise ValueError("an assistant's message needs content or tool_calls")
        return self

    def to_chat_message(self) -> ChatMessage:
        """The message as the model generated it."""
        calls = [(call.function.name, call.function.arguments) for call in self.tool_calls or ()]
        return ChatMessage(role="assistant", content=assistant_text(_joined(self.content or ""), calls))


class ToolMessage(Schema):
    """What a tool answered."""

    role: Literal["tool"]
    content: Content
    tool_call_id: str | None = None

    def to_chat_message(self) -> ChatMessage:
        """The message as the model is told."""
        return ChatMessage(role="user", content=response_text(_joined(self.content)))


Message = Annotated[PlainMessage | AssistantMessage | ToolMessage, Field(discriminator="role")]


class Function(Schema):
    """A function that the model may call."""

    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = Field(default=None, description="A JSON schema of an object.")
    strict: bool | None = Field(default=None, description="Hold the arguments to the schema.")

    def to_tool(self) -> Tool:
        """The function as a tool."""
        return Tool(self.name, self.description, self.parameters, bool(self.strict))


class FunctionTool(Schema):
    """A tool; functions are the only ones there are."""

    type: Literal["function"]
    function: Function


class FunctionName(Schema):
    """Which function."""

    name: str


class NamedChoice(Schema):
    """This function must be called."""

    type: Literal["function"]
    function: FunctionName


class TextFormat(Schema):
    """Any text."""

    type: Literal["text"]


class JsonObjectFormat(Schema):
    """A JSON object."""

    type: Literal["json_object"]


class JsonSchema(Schema):
    """A JSON schema and its name."""

    name: str | None = None
    description: str | None = None
    definition: dict[str, Any] = Field(alias="schema")
    strict: bool | None = Field(default=None, description="Answers follow the schema in any case.")


class JsonSchemaFormat(Schema):
    """A JSON value that follows a schema."""

    type: Literal["json_schema"]
    json_schema: JsonSchema


ResponseFormat = Annotated[TextFormat | JsonObjectFormat | JsonSchemaFormat, Field(discriminator="type")]


class ChatRequest(Generation):
    """The body of ``POST /v1/chat/completions``."""

    refused: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        **FOREIGN,
        "audio": (),
        "modalities": (["text"], []),
        "functions": ([],),
        "function_call": ("none",),
        "web_search_options": (),
        "store": (False,),
        "reasoning_effort": ("none",),
        "verbosity": ("medium",),
        "chat_template": (),
        "documents": ([],),
    }

    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(default=None, ge=1, description="OpenAI's newer name of max_tokens.")
    response_format: ResponseFormat | None = None
    tools: list[FunctionTool] | None = Field(default=None, max_length=128)
    tool_choice: Literal["auto", "none", "required"] | NamedChoice | None = None
    parallel_tool_calls: bool | None = True
    continue_final_message: bool | None = Field(
        default=False, description="Go on with the last message, an assistant's, instead of answering it."
    )
    add_generation_prompt: bool | None = Field(default=None, description="False only with continue_final_message.")
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        names = [tool.function.name for tool in self.tools or ()]
        if len(set(names)) < len(names):
            raise ValueError("tools: each function needs a name of its own")
        if self.top_logprobs and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs to be true")
        if self.tool_choice == "required" and not names:
            raise ValueError("tool_choice: there are no tools to choose from")
        if isinstance(self.tool_choice, NamedChoice) and self.tool_choice.function.name not in names:
            raise ValueError(f"tool_choice: there is no tool {self.tool_choice.function.name!r} among the tools")
        return self

    @model_validator(mode="after")
    def _can_be_continued(self) -> Self:
        if not self.continue_final_message:
            if self.add_generation_prompt is False:
                raise ValueError("add_generation_prompt: it can only be false with continue_final_message")
            return self
        if self.add_generation_prompt:
            raise ValueError("add_generation_prompt: it cannot be true with continue_final_message")
        if self.shown_tools or not isinstance(self.response_format, TextFormat | None):
            raise ValueError("continue_final_message: tools and formats are for whole answers: leave them out")
        last = self.messages[-1]
        if not isinstance(last, AssistantMessage) or not last.content or last.tool_calls:
            raise ValueError("continue_final_message: the last message must be the assistant's, with only text")
        return self

    @property
    def limit(self) -> int | None:
        """How many tokens an answer may have."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def top(self) -> int | None:
        """How many of the likeliest tokens to tell beside each token's log probability; ``None`` for neither."""
        return (self.top_logprobs or 0) if self.logprobs else None

    @property
    def shown_tools(self) -> list[Tool]:
        """The tools that the model is told about."""
        if self.tool_choice == "none":
            return []
        return [tool.function.to_tool() for tool in self.tools or ()]

    @property
    def chat_messages(self) -> list[ChatMessage]:
        """The conversation so far, as the model is told."""
        return told(self.messages, self.shown_tools)


def told(messages: Sequence[PlainMessage | AssistantMessage | ToolMessage], shown: Sequence[Tool]) -> list[ChatMessage]:
    """A conversation as the model is told: tools in the system's message, consecutive tools' answers in one."""
    turns: list[ChatMessage] = []
    for i, message in enumerate(messages):
        turn = message.to_chat_message()
        if isinstance(message, ToolMessage) and i and isinstance(messages[i - 1], ToolMessage):
            turns[-1]["content"] += "\n" + turn["content"]
        else:
            turns.append(turn)
    return with_tools(turns, shown)


def _joined(content: Content) -> str:
    return content if isinstance(content, str) else "".join(part.text for part in content)
