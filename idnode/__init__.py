"""The public face of idnode. Names are loaded on first use, so importing it costs next to nothing (PEP 562)."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from idnode_protocol.codes import OpCode, ResponseCode
    from idnode_protocol.value import HandleValue

    __version__: str

__all__ = ["HandleValue", "OpCode", "ResponseCode", "__version__"]

_HOMES = {
    "HandleValue": "idnode_protocol.value",
    "OpCode": "idnode_protocol.codes",
    "ResponseCode": "idnode_protocol.codes",
}
"""Where each public name lives."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("idnode")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value  # the second look finds it without coming here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
