"""Tokens, special tokens, templates; and that llama.cpp splits text as tokenizer.json says."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import gguf
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from converters.convert import convert
from converters.errors import CheckpointError
from converters.gguf_format import Metadata, ValueType, encode_header
from converters.pretokenizer import QWEN2_SPLIT, recognise
from converters.special_tokens import special_tokens
from converters.tokenizer import TokenType, token_list, tokenizer
from tests import fixtures
from tests.fixtures.qwen_vocab import FLAGS
from tests.fixtures.tiny import CONFIG, edit_json, tiny_checkpoint
from tests.llama import model, tokenize

TEXTS = [
    "Hello, world! It's 2026, and they'RE here; we'Ve seen it.",
    "def f(x):\n\tif x  >  10_000:\n        return {'a': [1, 2.5e-3]}  # done\n\n\n",
    "我想在apple工作1314151天～ 日本語の文章。 한국어 텍스트",
    "🚀 (normal) 😶\u200d🌫️ ✅ 🦙🦙 👨\u200d👩\u200d👧\u200d👦",
    "   " * 20 + "x" + "\n \n\n \n\n\n \t \t\t \t\n  \n" + " " * 100,
    "нещо на Български កាន់តែពិសេស עברית العربية",
    "''''''```````\"\"\"\"......!!!!!!?????? ------=======",
    "cafe\u0301 Å \u1e9b\u0323 \ufb01",
    "<|im_start|> is text here, and so is <|endoftext|>",
    "\x00\x01\x7f\u00a0\u2028\ufeff",
    "3 33 333 3333 33333 3.3 3..3 ¾ ² Ⅷ ٣",
    "",
]


@pytest.fixture(scope="session")
def qwen_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint with Qwen2's real vocabulary, converted."""
    out = tmp_path_factory.mktemp("qwen") / "qwen.gguf"
    convert(fixtures.qwen_vocab_checkpoint(), out, type="Q4_0")
    return out


@pytest.mark.parametrize("name", ["qwen2", "smollm"])
def test_llama_cpp_tokenizes_as_tokenizer_json_says(name: str, qwen_gguf: Path, demo_gguf: Path) -> None:
    path = qwen_gguf if name == "qwen2" else demo_gguf
    checkpoint = fixtures.qwen_vocab_checkpoint() if name == "qwen2" else fixtures.smollm2_checkpoint()
    document = json.loads((checkpoint / "tokenizer.json").read_text(encoding="utf-8"))
    document["added_tokens"] = []  # plain text must never become a control token
    rules = tokenizers.Tokenizer.from_str(json.dumps(document))
    with model(path, vocab_only=True) as loaded:
        for text in TEXTS:
            # llama.cpp does not normalize; whoever calls it has to.
            given_text = unicodedata.normalize("NFC", text) if name == "qwen2" else text
            assert tokenize(loaded, given_text) == rules.encode(text, add_special_tokens=False).ids, repr(text)


def test_control_tokens_are_read_where_they_are_asked_for(qwen_gguf: Path) -> None:
    with model(qwen_gguf, vocab_only=True) as loaded:
        assert tokenize(loaded, "<|im_start|>", special=True) == [151644]
        assert len(tokenize(loaded, "<|im_start|>")) > 1


def test_metadata_of_the_qwen_vocabulary(qwen_gguf: Path) -> None:
    fields = {name: field.contents() for name, field in gguf.GGUFReader(qwen_gguf).fields.items()}
    assert fields["general.name"] == "Qwen2 Tiny Instruct"
    assert fields["general.sampling.penalty_repeat"] == pytest.approx(1.05)
    assert fields["general.sampling.top_k"] == 20
    assert fields["qwen2.context_length"] == 32768
    assert fields["qwen2.rope.scaling.type"] == "yarn"
    assert fields["qwen2.rope.scaling.factor"] == 4.0
    assert fields["qwen2.rope.scaling.original_context_length"] == 32768
    assert fields["tokenizer.ggml.pre"] == "qwen2"
    assert len(fields["tokenizer.ggml.tokens"]) == 152064
    assert len(fields["tokenizer.ggml.merges"]) == 151387
    assert fields["tokenizer.ggml.eos_token_id"] == 151645
    assert fields["tokenizer.chat_template"].startswith("{% for message")


def test_token_kinds() -> None:
    vocab = {0: "a", 1: "b"}
    added: dict[int, dict[str, Any]] = {
        2: {"content": "<|x|>", "special": False},
        3: {"content": "plain\u2581word", "special": False},
        4: {"content": "shy", "special": True},
    }
    tokens, kinds = token_list(vocab, added, 6, Path("tokenizer.json"))
    assert tokens == ["a", "b", "<|x|>", "plain word", "shy", "[PAD5]"]
    assert kinds == [
        TokenType.NORMAL,
        TokenType.NORMAL,
        TokenType.CONTROL,
        TokenType.USER_DEFINED,
        TokenType.CONTROL,
        TokenType.UNUSED,
    ]


def test_added_tokens_of_a_fine_tune_convert(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(tmp_path / "checkpoint")
    document = json.loads((checkpoint / "tokenizer.json").read_text(encoding="utf-8"))
    document["added_tokens"].append({"id": 258, "content": "<tool>", **FLAGS})
    (checkpoint / "tokenizer.json").write_text(json.dumps(document), encoding="utf-8")
    edit_json(
        checkpoint / "tokenizer_config.json",
        added_tokens_decoder={"259": {"content": "</tool>", "special": False}},
    )
    convert(checkpoint, tmp_path / "out.gguf", type="F16")
    tokens = gguf.GGUFReader(tmp_path / "out.gguf").fields["tokenizer.ggml.tokens"].contents()
    assert tokens[258:261] == ["<tool>", "</tool>", "[PAD260]"]


def test_merges_as_pairs_are_the_same_as_merges_as_text(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(tmp_path / "checkpoint")
    convert(checkpoint, tmp_path / "text.gguf", type="F16")
    document = json.loads((checkpoint / "tokenizer.json").read_text(encoding="utf-8"))
    document["model"]["merges"] = [merge.split(" ") for merge in document["model"]["merges"]]
    (checkpoint / "tokenizer.json").write_text(json.dumps(document), encoding="utf-8")
    convert(checkpoint, tmp_path / "pairs.gguf", type="F16")
    assert (tmp_path / "text.gguf").read_bytes() == (tmp_path / "pairs.gguf").read_bytes()


def split(**changes: Any) -> dict[str, Any]:
    """tokenizer.json's relevant part, as Qwen2's, with changes to the Split step."""
    step = {"type": "Split", "pattern": {"Regex": QWEN2_SPLIT}, "behavior": "Isolated", "invert": False}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    return {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{**step, **changes}, byte_level]}}


def test_pre_tokenizer_is_recognised_by_its_structure() -> None:
    path = Path("tokenizer.json")
    assert recognise(split(), path) == "qwen2"
    assert recognise({**split(), "normalizer": {"type": "NFC"}}, path) == "qwen2"
    for other in (
        split(invert=True),
        split(behavior="Removed"),
        split(pattern={"Regex": QWEN2_SPLIT.replace(r"\p{N}", r"\p{N}{1,3}")}),
        {**split(), "normalizer": {"type": "NFKC"}},
        {"pre_tokenizer": {"type": "Metaspace"}},
        {"pre_tokenizer": {"type": "Sequence", "pretokenizers": 5}},
        {},
    ):
        with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
            recognise(other, path)


def test_ids_come_in_the_order_in_which_they_are_found() -> None:
    document = {
        "added_tokens": [{"id": 7, "content": "<eos>"}, {"id": 8, "content": "<pad>"}],
        "post_processor": {"type": "ByteLevel"},
    }
    settings = {"eos_token": {"content": "<eos>"}, "pad_token": "<pad>", "bos_token": None, "add_bos_token": True}
    found = special_tokens(document, settings, {"bos_token_id": 5, "eos_token_id": 6})
    assert list(found.ids.items()) == [("eos", 7), ("pad", 8), ("bos", 5)]
    # What tokenizer.json's post-processor says wins over tokenizer_config.json.
    assert found.add == {"bos": False, "eos": False}


def test_template_that_adds_tokens() -> None:
    single = [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}, {"SpecialToken": {"id": "</s>"}}]
    document = {"post_processor": {"type": "TemplateProcessing", "single": single}}
    found = special_tokens(document, {"bos_token": "<s>", "eos_token": "</x>"}, {})
    assert found.add == {"bos": True, "eos": False}


@pytest.mark.parametrize(
    "files,expected",
    [
        ({"chat_template.jinja": "from jinja"}, "from jinja"),
        ({"chat_template.json": '{"chat_template": "from json"}'}, "from json"),
        ({"chat_template.jinja": "from jinja", "chat_template.json": '{"chat_template": "no"}'}, "from jinja"),
        ({}, None),
    ],
)
def test_chat_template_files(files: dict[str, str], expected: str | None, tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(tmp_path / "checkpoint")
    for name, text in files.items():
        (checkpoint / name).write_text(text, encoding="utf-8")
    assert _fields(checkpoint, tmp_path).get("tokenizer.chat_template") == expected


def test_named_chat_templates(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(tmp_path / "checkpoint")
    templates = [{"name": "default", "template": "D"}, {"name": "tool use", "template": "T"}]
    edit_json(checkpoint / "tokenizer_config.json", chat_template=templates)
    fields = _fields(checkpoint, tmp_path)
    assert fields["tokenizer.chat_template"] == "D"
    assert fields["tokenizer.chat_template.tool_use"] == "T"
    assert fields["tokenizer.chat_templates"] == ["tool_use"]


@given(text=st.text())
def test_any_text_is_stored_as_utf_8(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    metadata = Metadata()
    metadata.string("general.name", text)
    header = encode_header(metadata, [])
    assert len(header) % 32 == 0
    if text:
        assert text.encode("utf-8", errors="replace") in header
        assert ValueType.STRING in header
    else:
        assert len(metadata) == 0


def test_a_broken_readme_does_not_stop_a_conversion(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(tmp_path / "checkpoint")
    for text in ("---\n: : [\n---\n", "---\nbase_model: {a: [1]}\nlicense: 5\ntags: {x: 1}\n---\n", "\xff"):
        (checkpoint / "README.md").write_text(text, encoding="latin-1")
        convert(checkpoint, tmp_path / "out.gguf", type="F16", overwrite=True)


def _fields(checkpoint: Path, folder: Path) -> dict[str, Any]:
    convert(checkpoint, folder / "out.gguf", type="F16")
    return {name: field.contents() for name, field in gguf.GGUFReader(folder / "out.gguf").fields.items()}


def test_tokenizer_writes_no_key_for_a_missing_template(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(tmp_path / "checkpoint")
    metadata = Metadata()
    tokenizer(metadata, checkpoint, CONFIG, CONFIG["vocab_size"])
    assert "tokenizer.chat_template" not in metadata
    assert "tokenizer.ggml.tokens" in metadata
