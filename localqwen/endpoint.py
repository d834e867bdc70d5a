"""Where a server listens. Apart from the client, whose HTTP library takes a fifth of the time to the first paint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from localqwen.errors import ServerError

# RFC 6750, section 2.1, is stricter still (b64token); servers hand out keys with other signs in them.
KEY_SIGNS = frozenset(map(chr, range(0x21, 0x7F)))


@dataclass(frozen=True)
class Endpoint:
    """Where a server listens: ``url`` with or without ``/v1``, or a Unix socket (``url`` then names no host)."""

    url: str = "http://localhost"
    uds: Path | None = None
    api_key: str | None = None

    @property
    def name(self) -> str:
        """What a message calls the server."""
        return "the model's server process" if self.uds else f"the server at {self.url}"

    @property
    def host(self) -> str:
        """The host that ``url`` names. Raises :class:`ServerError` for what is no address of a server."""
        try:
            parts = urlsplit(self.url)
            _ = parts.port  # looked at for its ValueError
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ServerError(f"{self.url} is no server address: write it as http://HOST:PORT or https://HOST.")
        return parts.hostname

    @property
    def authorization(self) -> str | None:
        """The header of that name (RFC 6750). Raises :class:`ServerError` for a key that fits into no header."""
        return None if self.api_key is None else f"Bearer {checked_key(self.api_key)}"


def checked_key(key: str) -> str:
    """A key that can be sent. Raises :class:`ServerError` for another one, without repeating it."""
    if not key or not KEY_SIGNS.issuperset(key):
        raise ServerError("The API key is not one: it may hold only letters, digits and signs of ASCII, and no space.")
    return key
