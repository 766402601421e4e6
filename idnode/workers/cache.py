"""The answer cache of a process that does not write: it hears of changes by their hashes."""

from __future__ import annotations

from collections.abc import Callable

from idnode.answer_cache import AnswerCache, Entry
from idnode.workers.ring import RingReader, name_word
from idnode_registry.registry import Change


class SharedAnswerCache(AnswerCache):
    """Keeps answers under the hashes of their names; :meth:`catch_up` forgets what others changed.

    ``read_anew`` is called before everything is forgotten when more than answers became wrong; ``forget`` whenever
    everything is: the registry too remembers what prefix handles say.
    """

    def __init__(
        self, octets_max: int, ring: RingReader, read_anew: Callable[[], None], forget: Callable[[], None]
    ) -> None:
        super().__init__(octets_max)
        self._ring = ring
        self._read_anew = read_anew
        self._forget = forget
        self._has_to_read = False

    def put(self, key: bytes, name: bytes, entry: Entry, epoch: int, expires: float | None = None) -> bool:
        return super().put(key, name_word(name), entry, epoch, expires)

    def catch_up(self) -> None:
        news = self._ring.news()
        if news is None:
            return
        self._has_to_read |= news.read_anew
        if self._has_to_read:  # stays so while the store cannot be read
            self._read_anew()
            self._has_to_read = False
        if news.everything:
            self._forget()
            self.clear()
        for name in news.names:
            self.drop(Change(name))
