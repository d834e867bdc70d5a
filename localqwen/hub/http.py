"""Byte ranges of a repository's files over HTTP, with the patience that long downloads need."""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from converters.errors import ResumableError

if TYPE_CHECKING:
    import httpx2
    import numpy as np
    import numpy.typing as npt

    Bytes = npt.NDArray[np.uint8]

_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
# Answers that say nothing against asking again.
AGAIN = {408, 425, 429, 500, 502, 503, 504}
_GOES_ON = "the same command goes on where it stopped"


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and how long to try again: seconds, doubled each time, with up to half of it added at random.

    Only tries in a row that bring not a single byte count, so that a bad line is no reason to give up.
    """

    tries: int = 9
    first: float = 0.5
    longest: float = 60.0

    def delay(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row."""
        return min(self.longest, self.first * 2.0 ** (failures - 1)) * (1.0 + random.random() / 2)


class _RetryError(Exception):
    """A try that failed in a way that may pass, after ``wait`` seconds if the server says so."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait


class RangeFetcher:
    """Reads byte ranges of one repository at one revision; a :class:`converters.readahead.Fetcher`."""

    def __init__(
        self,
        repository: str,
        sizes: Mapping[str, int],
        url: Callable[[str], str],
        patience: Patience | None = None,
    ) -> None:
        """``sizes`` are the files' lengths in bytes, ``url`` gives a file's address at the pinned revision."""
        from huggingface_hub.utils import build_hf_headers

        self._repository = repository
        self._sizes = sizes
        self._url = url
        self._patience = patience or Patience()
        self._headers: dict[str, str] = build_hf_headers(library_name="localqwen")
        # Where the hub sent us for a file's bytes: asking it anew for every range would cost a round trip each and
        # soon run into its limit of requests. Such an address is signed for a while and then refused.
        self._direct: dict[str, str] = {}
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Let fetches that are under way fail soon."""
        self._stopped.set()

    def fetch(self, name: str, offset: int, target: Bytes) -> None:
        """Fill ``target`` from ``offset``, trying again as long as there is hope.

        Raises:
            ResumableError: the hub refuses, cannot be reached, or sends something else.
        """
        done = failures = 0
        while done < target.nbytes:
            before = done
            try:
                for chunk in self._stream(name, offset + done, offset + target.nbytes):
                    target.data[done : done + len(chunk)] = chunk
                    done += len(chunk)
            except _RetryError as failure:
                failures = 1 if done > before else failures + 1
                if failures >= self._patience.tries:
                    raise self._failed(name, f"{failure.reason}, {failures} times in a row") from failure
                wait = self._patience.delay(failures) if failure.wait is None else failure.wait
                if self._stopped.wait(wait):
                    raise ResumableError(f"The download of {self._repository} was stopped: {_GOES_ON}.") from failure

    def _stream(self, name: str, begin: int, end: int) -> Any:
        """Yield the bytes of one request as they come."""
        import httpx2
        from huggingface_hub import constants
        from huggingface_hub.errors import OfflineModeIsEnabled
        from huggingface_hub.utils import get_session

        direct = self._direct.get(name)
        # Without the token: the address is signed, and it is another host's.
        headers = {} if direct else dict(self._headers)
        headers |= {"Range": f"bytes={begin}-{end - 1}", "Accept-Encoding": "identity"}
        timeout = httpx2.Timeout(constants.HF_HUB_DOWNLOAD_TIMEOUT)
        try:
            with get_session().stream(
                "GET", direct or self._url(name), headers=headers, timeout=timeout, follow_redirects=True
            ) as response:
                self._check(name, response, begin, end, direct)
                left = end - begin
                for chunk in response.iter_raw():
                    if self._stopped.is_set():
                        raise ResumableError(f"The download of {self._repository} was stopped: {_GOES_ON}.")
                    # A server that sends more than it was asked for is cut off.
                    yield chunk[:left]
                    left -= min(left, len(chunk))
                if left:
                    raise _RetryError("the connection ended early")
        except OfflineModeIsEnabled as error:
            raise offline(self._repository) from error
        except httpx2.TimeoutException as error:
            raise _RetryError("the hub did not answer in time") from error
        except httpx2.TransportError as error:
            raise _RetryError(f"the connection failed ({str(error) or type(error).__name__})") from error
        except httpx2.HTTPError as error:
            raise self._failed(name, str(error) or type(error).__name__) from error

    def _check(self, name: str, response: httpx2.Response, begin: int, end: int, direct: str | None) -> None:
        """Raise unless ``response`` will bring exactly the bytes that were asked for."""
        status = response.status_code
        if direct is not None and status in {400, 401, 403, 404, 410}:
            self._direct.pop(name, None)
            raise _RetryError("the address expired", 0.0)
        if status in AGAIN:
            raise _RetryError(f"the hub answered {status}", retry_after(response))
        if status == 206:
            found = _RANGE.fullmatch(response.headers.get("content-range", ""))
            if found is None or (int(found[1]), int(found[2]) + 1, int(found[3])) != (begin, end, self._sizes[name]):
                raise _RetryError(f"the hub sent other bytes than asked for ({response.headers.get('content-range')})")
        elif status != 200 or (begin, end) != (0, self._sizes[name]):
            raise self._refused(name, status)
        length = response.headers.get("content-length", "")
        if length.isdecimal() and int(length) != end - begin:
            raise _RetryError(f"the hub announced {length} bytes instead of {end - begin}")
        if response.history and direct is None:
            self._direct[name] = str(response.url)

    def _refused(self, name: str, status: int) -> ResumableError:
        if status in {401, 403}:
            return no_access(self._repository)
        if status == 200:
            return self._failed(name, "the server ignores byte ranges")
        return self._failed(name, f"the hub answered {status}")

    def _failed(self, name: str, reason: str) -> ResumableError:
        return ResumableError(
            f"Downloading {name} of {self._repository} failed ({reason}): check the connection and run the same "
            "command again, which goes on where it stopped."
        )


def offline(repository: str) -> ResumableError:
    """The error for a download in offline mode."""
    return ResumableError(
        f"{repository} cannot be downloaded because offline mode is on: unset HF_HUB_OFFLINE to go online."
    )


def no_access(repository: str) -> ResumableError:
    """The error for a repository that the hub does not show us."""
    return ResumableError(
        f"The hub refuses access to {repository}: check the name, accept its licence on its page if it asks for that, "
        "and set HF_TOKEN to a token of yours."
    )


def retry_after(response: httpx2.Response) -> float | None:
    """Seconds that the server asks to wait: ``Retry-After``, or the hub's rate limit headers."""
    from huggingface_hub.utils import parse_ratelimit_headers

    value = response.headers.get("retry-after", "").strip()
    if value.isdecimal():
        # An hour is the longest window that any hub has; nobody shall wait for a slip of a server's pen.
        return min(float(value), 3600.0)
    limit = parse_ratelimit_headers(response.headers)
    return float(limit.reset_in_seconds) if limit is not None and limit.remaining == 0 else None
