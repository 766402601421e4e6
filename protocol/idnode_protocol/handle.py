"""Handle names: prefix, suffix, case rule, prefix handles (docs/protocol.md §1; RFC 3651 §2).

A name is octets, UTF-8 by agreement. The first ``/`` splits it. Folding touches ASCII letters only and never changes
the length: ``bytes.upper`` does exactly that, ``str.upper`` does not.
"""

from __future__ import annotations

from typing import Final

from idnode_protocol.errors import InvalidText

ROOT_HANDLE: Final = b"0.NA/0.NA"
NA_PREFIX: Final = b"0.NA"
NA_START: Final = b"0.NA/"
GLOBAL_START: Final = b"0."


def fold(octets: bytes) -> bytes:
    """ASCII letters to upper case, octet by octet; the length never changes."""
    return octets.upper()


def split(name: bytes) -> tuple[bytes, bytes]:
    """(prefix, suffix). A name without a slash has the prefix ``0.NA`` and is all suffix (docs/protocol.md §1.1)."""
    prefix, slash, suffix = name.partition(b"/")
    return (prefix, suffix) if slash else (NA_PREFIX, name)


def with_slash(name: bytes) -> bytes:
    """The name as a server stores it: a bare prefix ``99.900`` becomes its prefix handle ``0.NA/99.900``."""
    return name if b"/" in name else NA_START + fold(name)


def fold_name(name: bytes, *, whole: bool) -> bytes:
    """The name as compared: folded whole (``fold-all`` store, or any name under ``0.``), else its prefix only."""
    if whole or name.startswith(GLOBAL_START):
        return name.upper()
    prefix, slash, suffix = name.partition(b"/")
    return prefix.upper() + slash + suffix


def same_name(a: bytes, b: bytes) -> bool:
    """Whether two names are the same for a client: prefix without case, suffix with, ``0.`` names without case."""
    return len(a) == len(b) and fold_name(a, whole=False) == fold_name(b, whole=False)


def prefix_handle(name: bytes) -> bytes:
    """The prefix handle responsible for a name: ``99.900/x`` -> ``0.NA/99.900``; ``0.NA/x`` -> ``0.NA/0.NA``."""
    return NA_START + split(name)[0].upper()


def is_prefix_handle(name: bytes) -> bool:
    """Whether the name is a prefix handle, ``0.NA/...`` in any case."""
    return name[:5].upper() == NA_START


def is_derived_prefix(name: bytes) -> bool:
    """Whether the name is the prefix handle of a derived prefix: ``0.NA/`` and a dot after it."""
    return is_prefix_handle(name) and b"." in name[5:]


def parent_prefix_handle(name: bytes) -> bytes | None:
    """The prefix handle one level up: ``0.NA/99.900.1`` -> ``0.NA/99.900``; None for ``0.NA/99`` or another name."""
    if not is_derived_prefix(name):
        return None
    return name[: name.rindex(b".")]


def is_well_formed(name: bytes) -> bool:
    """Whether the octets are UTF-8; creation of any other name is refused with code 102."""
    try:
        name.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def from_text(text: str) -> bytes:
    """The octets of a name typed by a person; raises :class:`InvalidText` for an empty name or a lone surrogate."""
    if not text:
        raise InvalidText("the handle is empty; give PREFIX/SUFFIX, for example 99.900/part-1")
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as wrong:
        raise InvalidText("the handle holds a lone surrogate and has no UTF-8 form") from wrong


def to_text(name: bytes) -> str:
    """The name for people and JSON; octets that are not UTF-8 are shown as U+FFFD."""
    return name.decode("utf-8", "replace")
