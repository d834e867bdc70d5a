"""Marks for tests that need a part of the engine."""

from __future__ import annotations

import inspect

import pytest

from localqwen.engine import constraint, jobs
from localqwen.engine.engine import Engine

constraints = pytest.mark.skipif(
    not hasattr(constraint, "Constraints"), reason="the engine compiles no grammars in this branch"
)
logprobs = pytest.mark.skipif(
    "logprobs" not in inspect.getsource(jobs), reason="the engine gives no log probabilities in this branch"
)
logit_bias = pytest.mark.skipif(
    "logit_bias" not in inspect.getsource(jobs), reason="the engine takes no logit bias in this branch"
)
embeddings = pytest.mark.skipif(
    "gives no embeddings" in inspect.getsource(Engine.embed), reason="the engine gives no embeddings in this branch"
)
