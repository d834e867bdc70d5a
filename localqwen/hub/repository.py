"""A repository on the hub at one commit: its files, their lengths and digests."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from converters.checkpoint import MAX_JSON
from converters.errors import ConversionError, DamagedFileError
from converters.readahead import RemoteFile
from localqwen.errors import LocalqwenError
from localqwen.hub.http import AGAIN, Patience, RangeFetcher, no_access, offline, retry_after

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo

_ID = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_TEMPLATE = re.compile(r"additional_chat_templates/[\w.-]+\.jinja", re.ASCII)
# What a conversion reads besides the weights: no file of a repository is downloaded only because it is there.
SMALL_FILES = (
    "config.json",
    "generation_config.json",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "chat_template.json",
    "README.md",
)


class HubError(LocalqwenError):
    """A repository cannot be found, reached or used."""


@dataclass(frozen=True)
class Repository:
    """A repository pinned to the commit ``revision``."""

    name: str
    revision: str
    files: Mapping[str, RemoteFile]

    @property
    def title(self) -> str:
        """Its name without the owner, which is what a clone's directory would be called."""
        return self.name.rpartition("/")[2]

    def fetcher(self, patience: Patience | None = None) -> RangeFetcher:
        """Reads its files by byte ranges."""
        from huggingface_hub import hf_hub_url

        def url(name: str) -> str:
            return hf_hub_url(self.name, name, revision=self.revision)

        return RangeFetcher(self.name, {name: file.size for name, file in self.files.items()}, url, patience)

    def download_small(self, folder: Path, fetcher: RangeFetcher) -> None:
        """Put config, index, tokenizer and model card into ``folder``.

        Raises:
            ConversionError: the hub fails, or a file is not what the hub announced.
        """
        import numpy as np

        templates = sorted(name for name in self.files if _TEMPLATE.fullmatch(name))
        for name in (*SMALL_FILES, *templates):
            file = self.files.get(name)
            if file is None:
                continue
            if file.size > MAX_JSON:
                raise ConversionError(f"{name} of {self.name} is far larger than such a file can be: do not use it.")
            data = np.empty(file.size, np.uint8)
            fetcher.fetch(name, 0, data)
            _verify(self.name, name, data.tobytes(), file)
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(data.data)


def find(name: str, revision: str | None = None, patience: Patience | None = None) -> Repository:
    """Ask the hub for repository ``name`` (``owner/name``) at a branch, tag or commit (by default ``main``).

    Raises:
        HubError: there is none, it is not ours to read, or the hub cannot be reached.
    """
    if not _ID.fullmatch(name):
        raise HubError(f"{name} is no repository of the hub: give OWNER/NAME, such as Qwen/Qwen2-7B-Instruct.")
    info = _model_info(name, revision, patience or Patience(tries=4))
    if not info.sha:
        raise HubError(f"The hub names no commit of {name}: try again later.")
    files = {}
    for sibling in info.siblings or []:
        size = sibling.lfs.size if sibling.lfs else sibling.size
        if _plain(sibling.rfilename) and isinstance(size, int) and size >= 0:
            sha256 = sibling.lfs.sha256 if sibling.lfs else None
            files[sibling.rfilename] = RemoteFile(size, sha256, f"{info.sha} {sha256 or sibling.blob_id}")
    return Repository(name, info.sha, files)


def _model_info(name: str, revision: str | None, patience: Patience) -> ModelInfo:
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HfHubHTTPError

    failures = 0
    while True:
        try:
            return HfApi(library_name="localqwen").model_info(
                name, revision=revision, files_metadata=True, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT
            )
        except Exception as error:
            failures += 1
            busy = isinstance(error, HfHubHTTPError) and error.response.status_code in AGAIN
            if not busy or failures >= patience.tries:
                raise _explained(error, name, revision) from error
            wait = retry_after(error.response) if isinstance(error, HfHubHTTPError) else None
            time.sleep(patience.delay(failures) if wait is None else wait)


def _explained(error: Exception, name: str, revision: str | None) -> Exception:  # noqa: PLR0911 - a table
    """What an error of huggingface_hub means, for a person; what it cannot mean comes back as it is."""
    import httpx2
    from huggingface_hub import constants, errors

    match error:
        case errors.OfflineModeIsEnabled():
            return HubError(str(offline(name)))
        case errors.RevisionNotFoundError():
            return HubError(f"{name} has no revision {revision!r}: leave out --revision or see its page.")
        case errors.HFValidationError():
            return HubError(f"{name} is no name that a repository can have: give OWNER/NAME.")
        # The hub answers 401 for what does not exist, so as not to tell what is private.
        case errors.HfHubHTTPError() if error.response.status_code in {401, 403, 404}:
            return HubError(str(no_access(name)))
        case errors.HfHubHTTPError():
            return HubError(f"The hub answered {error.response.status_code} when asked for {name}: try again later.")
        case httpx2.HTTPError() | OSError() | ValueError():
            return HubError(f"The hub at {constants.ENDPOINT} cannot be reached: check the connection.")
        case _:
            return error


def _plain(name: str) -> bool:
    """Whether a file may be written under its name: nothing hidden, nothing outside its folder."""
    parts = name.split("/")
    return name.isprintable() and "\\" not in name and not any(not part or part.startswith(".") for part in parts)


def _verify(repository: str, name: str, data: bytes, file: RemoteFile) -> None:
    """Compare a small file with the hub's digest: SHA-256 for large-file storage, git's own otherwise."""
    if file.sha256 is not None:
        good = hashlib.sha256(data).hexdigest() == file.sha256
    else:
        blob = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
        good = file.identity.rpartition(" ")[2] in {blob, "None"}
    if not good:
        raise DamagedFileError(name, f"{name} of {repository} did not arrive as it was published: try again.")
