"""Where a server listens. Apart from the client, whose HTTP library takes a fifth of the time to the first paint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from localqwen.errors import ServerError


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
