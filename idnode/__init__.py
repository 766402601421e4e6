"""The public face of idnode. Names are loaded on first use, so importing it costs next to nothing (PEP 562)."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from idnode.client.administrator import Administrator
    from idnode.client.resolver import Record, Resolver
    from idnode.country.country import Country
    from idnode.node import Node
    from idnode_protocol.codes import OpCode, ResponseCode
    from idnode_protocol.value import HandleValue

    __version__: str

__all__ = [
    "Administrator",
    "Country",
    "HandleValue",
    "Node",
    "OpCode",
    "Record",
    "Resolver",
    "ResponseCode",
    "__version__",
]

_HOMES = {
    "Administrator": "idnode.client.administrator",
    "Country": "idnode.country.country",
    "HandleValue": "idnode_protocol.value",
    "Node": "idnode.node",
    "OpCode": "idnode_protocol.codes",
    "Record": "idnode.client.resolver",
    "Resolver": "idnode.client.resolver",
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
