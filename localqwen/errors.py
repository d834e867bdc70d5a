"""The errors a person sees.

Every message is one sentence that says what went wrong, where, and what to do about it. The command line prints it
after ``localqwen:`` and exits with :attr:`LocalqwenError.exit_code`; the server puts it into an OpenAI error object.
"""

from __future__ import annotations


class LocalqwenError(Exception):
    """A failure that the program expects and can explain."""

    exit_code = 1


class StoppedError(LocalqwenError):
    """Ctrl-C in work that can go on later."""

    exit_code = 130


class ModelNotFoundError(LocalqwenError):
    """A MODEL argument names neither a file, nor an installed model, nor a card of the catalogue."""


class InvalidModelError(LocalqwenError):
    """A file is no GGUF that llama.cpp can run."""


class OutOfMemoryError(LocalqwenError):
    """The model, its KV cache and its compute buffers need more memory than there is."""


class PromptTooLongError(LocalqwenError):
    """A prompt does not fit into the context window."""


class InvalidRequestError(LocalqwenError):
    """A request that the model cannot be asked: the chat template refuses it, or a value is out of range.

    ``param`` names the field of the request that is at fault, where it is one.
    """

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class InvalidOptionError(InvalidRequestError):
    """An option of the command line that says nothing, or contradicts another one: wrong usage."""

    exit_code = 2


class ServerError(LocalqwenError):
    """An OpenAI-compatible server answered with an error, went away, or cannot be reached."""


class ServerRefusedError(ServerError):
    """A server answers, but not what it was asked: it has no such route, wants a key, or is no server of this kind."""


class ServerGoneError(ServerError):
    """Nobody answers at an endpoint, or not any more: our own server process may have died."""
