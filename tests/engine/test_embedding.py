"""Vectors of texts: the same however they are computed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import llama_cpp.llama_cpp as llama
import numpy as np
import numpy.typing as npt
import pytest

from localqwen.engine.context import DecodeAbortedError
from localqwen.engine.embedding import Embedder
from localqwen.engine.model import Model
from localqwen.engine.rope import Rope
from localqwen.errors import InvalidRequestError, PromptTooLongError

SIZE = 512
ROPE = Rope(1.0, 8192)
TEXT = "The lighthouse keeper wrote down the wind, the tide and every ship that passed. " * 12


@pytest.fixture(scope="module")
def model(demo_gguf: Path) -> Iterator[Model]:
    with Model.load(demo_gguf) as model:
        yield model


@pytest.fixture(scope="module")
def embedder(model: Model) -> Iterator[Embedder]:
    embedder = Embedder(model, SIZE, 1, ROPE)
    yield embedder
    embedder.close()


def pooled_by_llama(model: Model, tokens: list[int], pooling: int) -> npt.NDArray[np.float64]:
    """llama.cpp's own pooling, over a ubatch that holds the whole text."""
    params = llama.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = SIZE
    params.n_threads = params.n_threads_batch = 1
    params.embeddings = True
    params.pooling_type = pooling
    context = llama.llama_init_from_model(model.handle, params)
    array = (llama.llama_token * len(tokens))(*tokens)
    assert llama.llama_decode(context, llama.llama_batch_get_one(array, len(tokens))) == 0
    vector = np.array(
        np.ctypeslib.as_array(llama.llama_get_embeddings_seq(context, 0), (llama.llama_model_n_embd(model.handle),)),
        np.float64,
    )
    llama.llama_free(context)
    return vector / np.linalg.norm(vector)


def far(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """The distance of two vectors of length 1: 0 for equal ones, about 1.4 for unrelated ones."""
    return float(np.linalg.norm(np.asarray(first) - np.asarray(second)))


def with_pooling(model: Model, pooling: int, monkeypatch: pytest.MonkeyPatch) -> None:
    read = model.metadata
    monkeypatch.setattr(model, "metadata", lambda key: str(pooling) if key.endswith(".pooling_type") else read(key))


def test_the_mean_is_llama_cpps_over_the_whole_text(model: Model, embedder: Embedder) -> None:
    tokens = model.tokenize(TEXT)
    assert len(tokens) > 150  # more than one slice
    vector = embedder.embed(tokens)
    assert np.linalg.norm(vector) == pytest.approx(1)
    assert far(vector, pooled_by_llama(model, tokens, llama.LLAMA_POOLING_TYPE_MEAN)) < 0.02
    # The bound is one that another text does not meet.
    assert far(vector, embedder.embed(tokens[: len(tokens) // 2])) > 0.04


@pytest.mark.parametrize("pooling", [llama.LLAMA_POOLING_TYPE_CLS, llama.LLAMA_POOLING_TYPE_LAST])
def test_the_files_pooling_is_used(model: Model, pooling: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with_pooling(model, pooling, monkeypatch)
    tokens = model.tokenize(TEXT)
    embedder = Embedder(model, SIZE, 1, ROPE)
    try:
        assert far(embedder.embed(tokens), pooled_by_llama(model, tokens, pooling)) < 0.05
    finally:
        embedder.close()


def test_a_ranking_model_embeds_nothing(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    with_pooling(model, llama.LLAMA_POOLING_TYPE_RANK, monkeypatch)
    with pytest.raises(InvalidRequestError, match="ranks texts"):
        Embedder(model, SIZE, 1, ROPE)


@pytest.mark.parametrize("length", [1, 7, 64])
def test_slices_make_no_difference(model: Model, embedder: Embedder, length: int) -> None:
    tokens = model.tokenize(TEXT)[:70]
    other = Embedder(model, SIZE, 1, ROPE, slice_length=length)
    try:
        assert far(other.embed(tokens), embedder.embed(tokens)) < 0.02
    finally:
        other.close()


def test_a_text_leaves_nothing_behind_for_the_next(model: Model, embedder: Embedder) -> None:
    first = model.tokenize("The tide was high.")
    before = embedder.embed(first)
    embedder.embed(model.tokenize(TEXT))
    assert embedder.embed(first) == before


def test_a_whole_window_fits_and_a_token_more_does_not(model: Model, embedder: Embedder) -> None:
    tokens = (model.tokenize(TEXT) * 4)[:SIZE]
    assert len(embedder.embed(tokens)) == 576
    with pytest.raises(PromptTooLongError, match=rf"has {SIZE + 1} tokens, and {SIZE} can be embedded"):
        embedder.embed([*tokens, 1])


def test_nothing_cannot_be_embedded(embedder: Embedder) -> None:
    with pytest.raises(InvalidRequestError, match="the input is empty"):
        embedder.embed([])


def test_embedding_can_be_stopped(model: Model, embedder: Embedder) -> None:
    tokens = model.tokenize(TEXT)
    before = embedder.embed(tokens)
    embedder.abort()
    with pytest.raises(DecodeAbortedError):
        embedder.embed(tokens)
    embedder.resume()
    assert embedder.embed(tokens) == before
