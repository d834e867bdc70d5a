"""Our server as the official client sees it."""

from __future__ import annotations

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from tests.server.running import Running

JAPAN: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is the capital of Japan?"}]


@pytest.fixture
def client(server: Running) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


def test_models(client: openai.OpenAI) -> None:
    (model,) = client.models.list().data
    assert model.id == "demo"
    assert model.model_dump()["max_model_len"] == 8192
    assert client.models.retrieve("demo") == model


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
