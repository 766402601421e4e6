"""``index:handle``, the way people write down whose key is meant."""

from __future__ import annotations

from idnode_protocol.handle import from_text
from idnode_protocol.value import Reference


def parse_reference(text: str) -> Reference:
    """``300:99.900/ADMIN`` as a reference; raises ValueError."""
    index, colon, handle = text.partition(":")
    if not colon or not index.isdigit():
        raise ValueError(f"{text!r} is not index:handle, for example 300:99.900/ADMIN")
    return Reference(from_text(handle), int(index))
