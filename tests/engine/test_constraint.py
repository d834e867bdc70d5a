"""Answers of the demo model that are held to a schema or a grammar."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from itertools import count, repeat
from pathlib import Path
from typing import Any

import jsonschema_rs
import llama_cpp.llama_cpp as llama
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from localqwen.engine.constraint import Constraints, Matcher, json_object, json_schema, lark
from localqwen.engine.model import Model
from localqwen.engine.penalties import Row
from localqwen.engine.sampler import Sampler
from localqwen.engine.sampling import NEUTRAL
from localqwen.errors import InvalidRequestError
from tests.engine.decoding import OneSequence

CLOSED = {"additionalProperties": False}
SHORT = {"type": "string", "pattern": "^[a-z ]{1,12}$"}
SCHEMAS: dict[str, dict[str, Any]] = {
    "enum": {"enum": ["red", 7, None, {"a": [True]}]},
    "const": {"const": {"deep": [1, 2.5, "x"]}},
    "range": {"type": "integer", "minimum": -3, "exclusiveMaximum": 250},
    "pattern": {"type": "string", "pattern": "^[A-Z][a-z]{2,8} [0-9]{3}$"},
    "array": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 99}, "minItems": 2, "maxItems": 4},
    "anyOf": {"anyOf": [{"type": "boolean"}, SHORT]},
    "$ref": {"$defs": {"word": SHORT}, "type": "array", "items": {"$ref": "#/$defs/word"}, "maxItems": 2},
    "nested": {
        "type": "object",
        "properties": {
            "name": SHORT,
            "age": {"type": "integer", "minimum": 0, "maximum": 130},
            "home": {"type": "object", "properties": {"city": SHORT}, "required": ["city"], **CLOSED},
        },
        "required": ["name", "age", "home"],
        **CLOSED,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def model(demo_gguf: Path) -> Iterator[Model]:
    with Model.load(demo_gguf) as model:
        yield model


@pytest.fixture(scope="module")
def constraints(model: Model) -> Constraints:
    return Constraints(model)


@pytest.fixture(scope="module")
def context(model: Model) -> Iterator[OneSequence]:
    with closing(OneSequence(model)) as context:
        yield context


@pytest.fixture(scope="module")
def eager(model: Model) -> Row:
    """Logits that like to come to an end: high for what closes and ends, low for what nobody reads."""
    closing_pieces = {b'"', b'"}', b"}", b"]", b'"]', b"null"}
    row = np.zeros(model.vocabulary_size, np.float32)
    for token in range(model.vocabulary_size):
        piece = model.piece(token)
        row[token] = 4 if model.ends_answer(token) or piece in closing_pieces else 0 if piece.isascii() else -5
    return row


def ends(model: Model) -> list[int]:
    return [token for token in range(model.vocabulary_size) if model.ends_answer(token)]


def answer(model: Model, context: OneSequence, sampler: Sampler, limit: int = 400) -> list[int]:
    """Tokens up to the one that ends the answer, without it."""
    prompt = [model.control_tokens["<|im_start|>"], *model.tokenize("assistant\n")]
    context.restart(prompt)
    tokens = []
    with closing(sampler):
        while not model.ends_answer(token := sampler.sample(context.handle, -1)):
            tokens.append(token)
            assert len(tokens) < limit
            context.decode([token])
    return tokens


def text_of(model: Model, tokens: list[int]) -> str:
    return b"".join(map(model.piece, tokens)).decode()


def walk(model: Model, matcher: Matcher, rows: Iterator[Row], limit: int = 1000) -> bytes:
    """An answer whose tokens are the likeliest of made-up logits."""
    text = b""
    for _ in range(limit):
        row = next(rows).copy()
        matcher.apply(row)
        token = int(row.argmax())
        matcher.accept(token)
        if model.ends_answer(token):
            assert matcher.finished
            return text
        text += model.piece(token)
    raise AssertionError(f"no end after {text[-200:]!r}")


@pytest.mark.parametrize("name", SCHEMAS)
def test_answers_keep_to_the_schema(model: Model, context: OneSequence, constraints: Constraints, name: str) -> None:
    schema = SCHEMAS[name]
    for seed in range(2):
        sampling = replace(NEUTRAL, temperature=0.9, top_p=0.9, repetition_penalty=1.05, seed=seed)
        matcher = constraints.matcher(json_schema(schema))
        text = text_of(model, answer(model, context, Sampler(model, sampling, [], matcher=matcher)))
        jsonschema_rs.validate(schema, json.loads(text))
        assert matcher.finished


def test_a_json_object_is_an_object(model: Model, constraints: Constraints, context: OneSequence, eager: Row) -> None:
    for seed in range(10):
        random = np.random.default_rng(seed)
        rows = (random.normal(0, 2, len(eager)).astype(np.float32) + eager * (1 + i / 20) for i in count())
        assert isinstance(json.loads(walk(model, constraints.matcher(json_object()), rows)), dict)


numbers = st.integers(-50, 50)
few = st.integers(0, 4)
texts = st.text('aé日🙂 "\\\n', max_size=6)  # the demo's vocabulary lacks some bytes of rare characters
leaves = st.one_of(
    st.just({"type": "boolean"}),
    st.builds(lambda low, more: {"type": "integer", "minimum": low, "maximum": low + more}, numbers, few),
    st.builds(lambda low, more: {"type": "string", "minLength": low, "maxLength": low + more}, few, few),
    st.builds(lambda values: {"enum": values}, st.lists(st.none() | numbers | texts, min_size=1)),
    st.builds(lambda value: {"const": value}, texts | st.lists(numbers, max_size=3)),
    st.builds(lambda n: {"type": "integer", "multipleOf": n, "minimum": 0, "maximum": 500}, st.integers(1, 40)),
)  # fmt: skip


def array_of(items: dict[str, Any], least: int) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": least, "maxItems": least + 2}


def object_of(properties: dict[str, dict[str, Any]], required: set[str]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": sorted(required & properties.keys()), **CLOSED}


def composed(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    names = st.sampled_from("abcd")
    return st.one_of(
        st.builds(array_of, inner, st.integers(0, 2)),
        st.builds(object_of, st.dictionaries(names, inner, max_size=3), st.sets(names)),
        st.builds(lambda *both: {"anyOf": both}, inner, inner),
        st.builds(lambda *both: {"allOf": both}, inner, inner),
    )


@settings(max_examples=40, deadline=None)
@given(st.recursive(leaves, composed, max_leaves=6), st.integers(0, 2**32 - 1))
def test_any_walk_through_a_schema_is_valid(
    model: Model, constraints: Constraints, eager: Row, schema: dict[str, Any], seed: int
) -> None:
    try:
        matcher = constraints.matcher(json_schema(schema))
    except InvalidRequestError as error:
        assert "nsatisf" in str(error)  # two parts of an allOf may exclude each other
        assume(False)
    random = np.random.default_rng(seed)
    rows = (random.normal(0, 2, len(eager)).astype(np.float32) + eager * (1 + i / 20) for i in count())
    jsonschema_rs.validate(schema, json.loads(walk(model, matcher, rows)))


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"not": {"type": "string"}}, r'Unimplemented keys: \["not"\]'),
        ({"type": "array", "uniqueItems": True}, "uniqueItems"),
        ({"x-guidance": {"lenient": True}, "type": "array", "uniqueItems": True}, "uniqueItems"),
        ({"x-guidance": {"coerce_one_of": True}, "oneOf": [{"type": "integer"}, {"type": "number"}]}, "Use anyOf"),
        ({"properties": {"a": {"if": {}, "then": {}}}}, "if"),
        ({"type": "string", "format": "haiku"}, "Unknown format: haiku"),
        ({"type": "string", "pattern": "(?=a)b"}, "look-around"),
        ({"type": "strin"}, "Invalid type"),
        ({"$ref": "https://schemas.example/x"}, "retrieving it failed"),
        ({"$ref": "#"}, "nothing satisfies it"),
        ({"type": "integer", "minimum": 5, "maximum": 3}, "greater than"),
        ({"type": "integer", "multipleOf": 99999989}, "too long to compile"),
        ({"$defs": {str(i): {"$ref": f"#/$defs/{i + 1}"} for i in range(6000)}, "$ref": "#/$defs/0"}, "too deeply"),
    ],
)  # fmt: skip
def test_what_cannot_be_kept_is_refused(constraints: Constraints, schema: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidRequestError, match=reason) as refused:
        constraints.matcher(json_schema(schema))
    assert "\n" not in str(refused.value)


def test_no_schema_at_all() -> None:
    nested: dict[str, Any] = {}
    for _ in range(100_000):
        nested = {"items": nested}
    for schema, reason in (
        (nested, "nested too deeply"),
        ({"const": float("nan")}, "not valid"),
        ({"enum": ["x" * 300_000]}, "at most 262144"),
        (True, "not valid"),
    ):
        with pytest.raises(InvalidRequestError, match=reason):
            json_schema(schema)  # type: ignore[arg-type]


def test_a_schema_that_refers_to_itself(model: Model, constraints: Constraints, eager: Row) -> None:
    next_one = {"anyOf": [{"type": "null"}, {"$ref": "#"}]}
    schema = {"type": "object", "properties": {"next": next_one}, "required": ["next"], **CLOSED}
    link = np.array([6.0 * (model.piece(token) == b"{") for token in range(model.vocabulary_size)], np.float32)
    rows = (eager + link * (i < 20) for i in count())
    document = json.loads(walk(model, constraints.matcher(json_schema(schema)), rows))
    jsonschema_rs.validate(schema, document)
    assert document["next"]["next"], "it goes deeper where the model wants"


def test_a_lark_grammar(model: Model, context: OneSequence, constraints: Constraints) -> None:
    grammar = lark('start: "yes" | "no" ", because " /[a-z ]{3,20}/')
    text = text_of(model, answer(model, context, Sampler(model, NEUTRAL, [], matcher=constraints.matcher(grammar))))
    assert text == "yes" or text.startswith("no, because ")
    with pytest.raises(InvalidRequestError, match="cannot be held to this schema or grammar"):
        constraints.matcher(lark("start: nowhere"))


def test_a_grammar_cannot_ask_for_control_tokens(constraints: Constraints) -> None:
    with pytest.raises(InvalidRequestError, match="llguidance fails on it"):
        constraints.matcher(lark("start: <|im_start|>"))


def test_tokens_without_text_are_blocked(model: Model, constraints: Constraints) -> None:
    row = np.zeros(model.vocabulary_size, np.float32)
    constraints.matcher(lark(r"start: /(.|\n)*/")).apply(row)
    for token in range(model.vocabulary_size):
        if model.ends_answer(token):
            assert row[token] == 0
        elif not model.piece(token):
            assert row[token] == -np.inf
    assert (row == 0).sum() > model.vocabulary_size // 2


def test_the_answer_ends_where_the_grammar_may(model: Model, constraints: Constraints) -> None:
    matcher = constraints.matcher(json_schema({"type": "integer", "minimum": 10, "maximum": 999}))
    may_end = []
    for token in [token for digit in "123" for token in model.tokenize(digit)]:
        row = np.zeros(model.vocabulary_size, np.float32)
        matcher.apply(row)
        assert len({float(row[end]) for end in ends(model)}) == 1
        may_end.append(row[ends(model)[0]] == 0)
        assert not matcher.finished
        matcher.accept(token)
    assert may_end == [False, False, True]
    assert matcher.finished


def test_white_space_comes_to_an_end(model: Model, constraints: Constraints) -> None:
    schema = {"type": "array", "items": {"type": "integer", "maximum": 9, "minimum": 0}, "minItems": 3, "maxItems": 3}
    blank = np.array([8.0 * model.piece(token).isspace() for token in range(model.vocabulary_size)], np.float32)
    text = walk(model, constraints.matcher(json_schema(schema)), repeat(blank))
    assert len(json.loads(text)) == 3
    assert text.startswith(b"[")
    assert len(text) > 20, "some is allowed"
    assert len(text) < 200


def test_a_token_that_is_not_allowed(model: Model, constraints: Constraints) -> None:
    with pytest.raises(InvalidRequestError, match="cannot go on"):
        constraints.matcher(json_object()).accept(ends(model)[0])


def test_matchers_are_made_and_used_in_different_threads(model: Model, eager: Row) -> None:
    constraints = Constraints(model)
    grammar = json_schema(SCHEMAS["nested"])
    with ThreadPoolExecutor(4) as threads:
        matchers = list(threads.map(constraints.matcher, [grammar] * 4))
    texts = [walk(model, matcher, repeat(eager)) for matcher in matchers]
    jsonschema_rs.validate(SCHEMAS["nested"], json.loads(texts[0]))
    assert len(set(texts)) == 1


def test_several_rows_of_one_decode(model: Model, context: OneSequence, constraints: Constraints) -> None:
    """What a speculation verifies: the same tokens, whether they are sampled after one decode each or after one."""
    grammar = json_schema(SCHEMAS["nested"])
    greedy = replace(NEUTRAL, temperature=0.0, frequency_penalty=0.3)
    expected = answer(model, context, Sampler(model, greedy, [], matcher=constraints.matcher(grammar)))
    with closing(Sampler(model, greedy, [], matcher=constraints.matcher(grammar), top_logprobs=0)) as sampler:
        drawn = _sample_rows(model, context.tokens[: -len(expected)], expected, sampler)
    assert drawn[:-1] == expected
    assert model.ends_answer(drawn[-1])


def _sample_rows(model: Model, prompt: list[int], draft: list[int], sampler: Sampler) -> list[int]:
    params = llama.llama_context_default_params()
    params.n_ctx, params.n_threads, params.n_threads_batch = 512, 2, 2
    handle = llama.llama_init_from_model(model.handle, params)
    tokens = prompt + draft
    batch = llama.llama_batch_init(len(tokens), 0, 1)
    batch.n_tokens = len(tokens)
    for i, token in enumerate(tokens):
        batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0] = token, i, 1, 0
        batch.logits[i] = i >= len(prompt) - 1
    try:
        assert llama.llama_decode(handle, batch) == 0
        return [sampler.sample(handle, row) for row in range(len(prompt) - 1, len(tokens))]
    finally:
        llama.llama_batch_free(batch)
        llama.llama_free(handle)
