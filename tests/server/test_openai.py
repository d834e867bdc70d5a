"""Our server as the official client sees it."""

from __future__ import annotations

import json
import math
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionMessageParam, ChatCompletionToolParam

from localqwen.server.chat_schema import ChatRequest
from tests.server.running import Running

# Prompts whose answers at temperature 0 no near tie decides, whatever else is in the cache.
COUNTING = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,"
JAPAN: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is the capital of Japan?"}]

WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tells the weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}, "days": {"enum": [1, 2]}},
            "required": ["city", "days"],
            "additionalProperties": False,
        },
    },
}
NOW: ChatCompletionToolParam = {"type": "function", "function": {"name": "now"}}


@pytest.fixture
def client(server: Running) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


def test_models(client: openai.OpenAI) -> None:
    (model,) = client.models.list().data
    assert model.id == "demo"
    assert model.model_dump()["max_model_len"] == 8192
    assert client.models.retrieve("demo") == model
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-9")


def test_whole_answer(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="demo", messages=JAPAN, temperature=0)
    (choice,) = answer.choices
    assert "Tokyo" in (choice.message.content or "")
    assert choice.message.role == "assistant"
    assert choice.finish_reason == "stop"
    assert answer.object == "chat.completion"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_stream(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="demo", messages=JAPAN, temperature=0, stream=True, stream_options={"include_usage": True}
        )
    )
    *deltas, last = chunks
    assert deltas[0].choices[0].delta.role == "assistant"
    assert all(chunk.choices[0].delta.role is None for chunk in deltas[1:])
    assert [chunk.choices[0].finish_reason for chunk in deltas] == [None] * (len(deltas) - 1) + ["stop"]
    assert "Tokyo" in "".join(chunk.choices[0].delta.content or "" for chunk in deltas)
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens > 0
    assert len({chunk.id for chunk in chunks}) == 1


def test_stream_without_usage(client: openai.OpenAI) -> None:
    chunks = list(client.chat.completions.create(model="demo", messages=JAPAN, temperature=0, stream=True))
    assert all(len(chunk.choices) == 1 and chunk.usage is None for chunk in chunks)


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
def test_limit(client: openai.OpenAI, limit: str) -> None:
    answer = client.chat.completions.create(model="demo", messages=JAPAN, temperature=0, extra_body={limit: 2})
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 2


def test_stop_and_seed(client: openai.OpenAI) -> None:
    texts = [
        client.chat.completions.create(model="demo", messages=JAPAN, temperature=0, stop=stop, seed=1)
        .choices[0]
        .message.content
        for stop in (" Tokyo", ["never", " Tokyo"])
    ]
    assert texts == ["The capital of Japan is"] * 2


def test_many_choices(client: openai.OpenAI) -> None:
    def ask(seed: int, n: int) -> list[str | None]:
        answer = client.chat.completions.create(
            model="demo", messages=JAPAN, temperature=2, seed=seed, n=n, max_tokens=12
        )
        assert [choice.index for choice in answer.choices] == list(range(n))
        assert answer.usage is not None
        assert answer.usage.completion_tokens <= 12 * n
        assert answer.usage.prompt_tokens < 60, "the prompt counts once"
        return [choice.message.content for choice in answer.choices]

    assert len(set(ask(7, 3))) == 3
    # The texts themselves are not compared: what else is in the cache decides about the last digits of logits.
    asked = ChatRequest.model_validate({"messages": JAPAN, "n": 3, "seed": 7})
    assert [params.seed for params in asked.params()] == [7, 8, 9]


def test_a_stream_of_many_choices(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="demo", messages=JAPAN, n=2, max_tokens=8, temperature=0)
    texts = ["", ""]
    ends = []
    for chunk in client.chat.completions.create(
        model="demo", messages=JAPAN, n=2, max_tokens=8, temperature=0, stream=True
    ):
        (choice,) = chunk.choices
        texts[choice.index] += choice.delta.content or ""
        if choice.finish_reason:
            ends.append(choice.index)
    assert sorted(ends) == [0, 1]
    assert texts == [choice.message.content for choice in whole.choices]


def test_log_probabilities(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="demo", messages=JAPAN, temperature=0, logprobs=True, top_logprobs=3, max_tokens=5
    )
    (choice,) = answer.choices
    assert choice.logprobs is not None
    tokens = choice.logprobs.content or []
    assert len(tokens) == 5
    assert b"".join(bytes(token.bytes or []) for token in tokens).decode() == choice.message.content
    for token in tokens:
        assert token.top_logprobs[0].token == token.token, "greedy takes the likeliest"
        assert token.logprob <= 0
        assert sum(math.exp(top.logprob) for top in token.top_logprobs) <= 1.0001
    chunks = client.chat.completions.create(
        model="demo", messages=JAPAN, temperature=0, logprobs=True, max_tokens=5, stream=True
    )
    streamed = [t for chunk in chunks for c in chunk.choices if c.logprobs for t in c.logprobs.content or []]
    assert [token.token for token in streamed] == [token.token for token in tokens]


def test_logit_bias(client: openai.OpenAI) -> None:
    tokens = client.post("/../localqwen/tokenize", body={"text": "Hello"}, cast_to=object)
    (token,) = tokens["tokens"]  # type: ignore[index]
    answer = client.chat.completions.create(
        model="demo", messages=JAPAN, temperature=0, logit_bias={str(token): 100}, max_tokens=3
    )
    assert answer.choices[0].message.content == "HelloHelloHello"


def test_json_object(client: openai.OpenAI) -> None:
    for seed in range(3):
        answer = client.chat.completions.create(
            model="demo", messages=JAPAN, seed=seed, response_format={"type": "json_object"}, max_tokens=500
        )
        (choice,) = answer.choices
        if choice.finish_reason == "stop":
            assert isinstance(json.loads(choice.message.content or ""), dict)


SCHEMA = {
    "type": "object",
    "properties": {"capital": {"enum": ["Tokyo", "Kyoto"]}, "inhabitants": {"enum": [1, 2]}},
    "required": ["capital", "inhabitants"],
    "additionalProperties": False,
}


def test_json_schema(client: openai.OpenAI) -> None:
    for seed in range(3):
        answer = client.chat.completions.create(
            model="demo",
            messages=JAPAN,
            seed=seed,
            response_format={"type": "json_schema", "json_schema": {"name": "capital", "schema": SCHEMA}},
        )
        value = json.loads(answer.choices[0].message.content or "")
        assert set(value) == {"capital", "inhabitants"}
        assert value["capital"] in {"Tokyo", "Kyoto"}


def test_a_schema_that_cannot_be_compiled(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(
            model="demo",
            messages=JAPAN,
            response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "dragon"}}},
        )


@pytest.mark.parametrize(
    ("choice", "names"),
    [("required", {"weather", "now"}), ({"type": "function", "function": {"name": "weather"}}, {"weather"})],
)
def test_forced_tools(client: openai.OpenAI, choice: Any, names: set[str]) -> None:
    for seed in range(3):
        answer = client.chat.completions.create(
            model="demo",
            messages=JAPAN,
            tools=[WEATHER, NOW],
            tool_choice=choice,
            seed=seed,
            parallel_tool_calls=False,
        )
        assert answer.choices[0].finish_reason == "tool_calls"
        assert answer.choices[0].message.content is None
        (call,) = answer.choices[0].message.tool_calls or []
        assert call.type == "function"
        assert call.function.name in names
        arguments = json.loads(call.function.arguments)
        assert call.function.name == "now" or arguments["city"] in {"Paris", "Rome"}


def test_streamed_tools(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(
        model="demo",
        messages=JAPAN,
        tools=[WEATHER],
        tool_choice={"type": "function", "function": {"name": "weather"}},
        temperature=0,
    ) as stream:
        answer = stream.get_final_completion()
    (call,) = answer.choices[0].message.tool_calls or []
    assert call.function.name == "weather"
    assert json.loads(call.function.arguments)["city"] in {"Paris", "Rome"}
    assert answer.choices[0].finish_reason == "tool_calls"


def test_tools_that_are_not_called(client: openai.OpenAI) -> None:
    def prompt_tokens(**more: Any) -> int:
        answer: ChatCompletion = client.chat.completions.create(
            model="demo", messages=JAPAN, temperature=0, max_tokens=3, **more
        )
        assert answer.choices[0].message.tool_calls is None
        assert answer.usage is not None
        return answer.usage.prompt_tokens

    plain = prompt_tokens()
    assert prompt_tokens(tools=[WEATHER], tool_choice="none") == plain
    assert prompt_tokens(tools=[WEATHER]) > plain + 50


def test_a_conversation_with_calls(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="demo",
        messages=[
            {"role": "user", "content": "What is the capital of Japan?"},
            {
                "role": "assistant",
                "tool_calls": [{"id": "1", "type": "function", "function": {"name": "now", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "1", "content": "noon"},
        ],
        tools=[NOW],
        max_tokens=5,
    )
    assert answer.choices[0].finish_reason in {"length", "stop"}


def test_completions(client: openai.OpenAI) -> None:
    prompt = "<|im_start|>user\nWhat is the capital of Japan?<|im_end|>\n<|im_start|>assistant\n"
    answer = client.completions.create(model="demo", prompt=prompt, temperature=0, max_tokens=20)
    (choice,) = answer.choices
    assert "Tokyo" in choice.text, "the template's tokens are control tokens here"
    assert choice.finish_reason == "stop"
    assert answer.object == "text_completion"
    echoed = client.completions.create(model="demo", prompt=prompt, temperature=0, max_tokens=20, echo=True)
    assert echoed.choices[0].text == prompt + choice.text
    tokens = client.post("/../localqwen/tokenize", body={"text": "One, two,"}, cast_to=object)
    ids = tokens["tokens"]  # type: ignore[index]
    both = client.completions.create(model="demo", prompt=["One, two,", "One, two,"], temperature=0, n=1)
    assert [choice.index for choice in both.choices] == [0, 1]
    assert both.usage is not None
    assert both.usage.prompt_tokens == 2 * len(ids)
    assert both.usage.completion_tokens == 2 * 16, "OpenAI's default"
    # What is computed in another batch may part at a near tie, so only the beginning is compared.
    same = client.completions.create(model="demo", prompt=ids, temperature=0, max_tokens=2)
    assert same.usage is not None
    assert same.usage.prompt_tokens == len(ids)
    assert all(choice.text.startswith(same.choices[0].text) for choice in both.choices)


def test_streamed_completions(client: openai.OpenAI) -> None:
    whole = client.completions.create(model="demo", prompt=COUNTING, temperature=0, echo=True)
    *chunks, last = client.completions.create(
        model="demo",
        prompt=COUNTING,
        temperature=0,
        echo=True,
        stream=True,
        stream_options={"include_usage": True},
    )
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + ["length"]
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens == 16


def test_log_probabilities_of_completions(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="demo", prompt="One, two,", temperature=0, logprobs=2, max_tokens=5)
    (choice,) = answer.choices
    told = choice.logprobs
    assert told is not None
    assert "".join(told.tokens or []) == choice.text
    for i, offset in enumerate(told.text_offset or []):
        assert choice.text[offset:].startswith((told.tokens or [])[i])
    assert all(2 <= len(top) <= 3 for top in told.top_logprobs or [])


def test_embeddings(client: openai.OpenAI) -> None:
    texts = ["Hello", "The sea is blue."]
    packed = client.embeddings.create(model="demo", input=texts)
    plain = client.embeddings.create(model="demo", input=texts, encoding_format="float")
    for one, other in zip(packed.data, plain.data, strict=True):
        assert one.index == other.index
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6)
        assert math.hypot(*one.embedding) == pytest.approx(1, abs=1e-4)
    assert packed.usage.prompt_tokens == plain.usage.total_tokens > 0
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model="demo", input="word " * 9000)
    assert caught.value.code == "context_length_exceeded"


def test_token_counts(client: openai.OpenAI) -> None:
    told: Any = client.post("/../localqwen/tokenize", body={"messages": JAPAN}, cast_to=object)
    answer = client.chat.completions.create(model="demo", messages=JAPAN, max_tokens=1)
    assert answer.usage is not None
    assert told["count"] == len(told["tokens"]) == answer.usage.prompt_tokens
    assert told["max_model_len"] == 8192
    text: Any = client.post("/../localqwen/tokenize", body={"text": "<|im_start|>"}, cast_to=object)
    assert text["count"] > 1, "a text's control tokens stay text"


def test_content_in_parts_and_a_developers_message(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="demo",
        messages=[
            {"role": "developer", "content": "You answer questions."},
            {
                "role": "user",
                "content": [{"type": "text", "text": "What is the capital"}, {"type": "text", "text": " of Japan?"}],
            },
        ],
        temperature=0,
        extra_body={"top_k": 20, "min_p": 0, "repetition_penalty": 1.0, "nobody_knows_this": True},
    )
    assert "Tokyo" in (answer.choices[0].message.content or "")


def test_an_unknown_model(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="gpt-9", messages=JAPAN)
    assert caught.value.code == "model_not_found"
    assert "this server has 'demo'" in str(caught.value)


def test_a_prompt_that_is_too_long(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="demo", messages=[{"role": "user", "content": "word " * 9000}])
    assert caught.value.code == "context_length_exceeded"
    assert "8192" in str(caught.value)


async def test_answers_come_to_many_at_once(server: Running) -> None:
    import asyncio

    client = openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)
    answers = await asyncio.gather(
        *(client.chat.completions.create(model="demo", messages=JAPAN, temperature=0) for _ in range(4))
    )
    assert all("Tokyo" in (answer.choices[0].message.content or "") for answer in answers)
