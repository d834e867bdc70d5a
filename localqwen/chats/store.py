"""Everything that is kept of conversations, in one SQLite file or, for temporary ones, in memory."""

from __future__ import annotations

from pathlib import Path

from localqwen.chats.database import IN_MEMORY, ChatStoreError
from localqwen.chats.preset_store import PresetRows
from localqwen.chats.search_store import SearchRows
from localqwen.chats.transfer_store import TransferRows
from localqwen.chats.unfinished_store import UnfinishedRows

__all__ = ["ChatStoreError", "Store"]


class Store(TransferRows, SearchRows, PresetRows, UnfinishedRows):
    """The conversations of one file. Every method is one transaction and may be called from any thread.

    Any of them raises :class:`ChatStoreError` when the file cannot be used any more.
    """

    def __init__(self, path: Path) -> None:
        """Open or create ``path``, finish what dead processes left open, and let go of what was deleted long ago.

        Raises:
            ChatStoreError: The file is damaged, locked for long, or in a folder that cannot be written.
            LocalqwenError: A newer localqwen wrote it.
        """
        super().__init__(path)
        self._recover()
        self.purge()

    @classmethod
    def temporary(cls) -> Store:
        """A store that keeps nothing on a disk: what is in it is gone when it is closed."""
        return cls(IN_MEMORY)
