"""The gate that keeps readers out while the ground under them moves: a map that grows, a store that closes."""

from __future__ import annotations

import threading
import weakref

from idnode_registry.errors import StoreClosed


class _Slot:
    __slots__ = ("__weakref__", "busy")

    def __init__(self) -> None:
        self.busy = False


class Gate:
    """Lets any number of threads read, and one thread keep all out.

    Entering is two attribute writes and a look. A reader raises its flag first and looks at ``_shut`` second; the one
    who shuts sets ``_shut`` first and looks at the flags second; so at least one of them sees the other.
    """

    def __init__(self) -> None:
        self._local = threading.local()
        self._slots: weakref.WeakSet[_Slot] = weakref.WeakSet()
        self._guard = threading.Lock()
        self._shut = False
        self._closed = False
        self._opened = threading.Event()
        self._left = threading.Event()

    def enter(self) -> _Slot:
        """Begin reading; raises StoreClosed. Hand the slot back with :meth:`leave`; not reentrant in a thread."""
        try:
            slot: _Slot = self._local.slot
        except AttributeError:
            slot = self._new_slot()
        slot.busy = True
        while self._shut:
            self.leave(slot)
            if self._closed:
                raise StoreClosed("the store is closed")
            self._opened.wait()
            slot.busy = True
        return slot

    def _new_slot(self) -> _Slot:
        slot = self._local.slot = _Slot()
        with self._guard:
            self._slots.add(slot)
        return slot

    def leave(self, slot: _Slot) -> None:
        slot.busy = False
        if self._shut:
            self._left.set()

    def shut(self) -> None:
        """Wait until nobody reads, and let nobody in."""
        self._opened.clear()
        self._shut = True
        while self._is_busy():
            self._left.wait(0.01)
            self._left.clear()

    def _is_busy(self) -> bool:
        with self._guard:
            return any(slot.busy for slot in self._slots)

    def open(self) -> None:
        self._shut = False
        self._opened.set()

    def close(self) -> None:
        """Shut for ever: who waits or comes gets StoreClosed."""
        self._closed = True
        self.shut()
        self._opened.set()
