"""A program: the tokens that llama.cpp makes of the text on stdin with the vocabulary of a GGUF, as JSON on stdout.

    python _llama_tokens.py FILE.gguf < TEXT

Run as a process of its own, because llama.cpp aborts the process on some damaged vocabularies, and because the pass
shall not load it. The text is plain: what looks like a control token in it is none.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys

import llama_cpp


def main() -> None:
    """Load the vocabulary only, tokenize, print."""
    quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
    llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
    parameters = llama_cpp.llama_model_default_params()
    parameters.vocab_only = True
    model = llama_cpp.llama_model_load_from_file(os.fsencode(sys.argv[1]), parameters)
    if not model:
        sys.exit(1)
    text = sys.stdin.buffer.read()
    tokens = (llama_cpp.llama_token * (len(text) + 8))()
    vocab = llama_cpp.llama_model_get_vocab(model)
    count = llama_cpp.llama_tokenize(vocab, text, len(text), tokens, len(tokens), False, False)
    sys.stdout.write(json.dumps(list(tokens[:count])))


if __name__ == "__main__":
    main()
