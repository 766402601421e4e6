"""The cells of the Java matrix as data: what is prepared, what the client does, what the server must have counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

RESOLVE, CREATE, DELETE, ADD, REMOVE, MODIFY, LIST = 1, 100, 101, 102, 103, 104, 105
ANSWER_CHALLENGE, VERIFY, SESSION_SETUP = 200, 201, 400

TRANSPORTS = ("udp", "tcp", "http")
KEYS = ("secret", "rsa")
AUTH_METHOD = {"secret": "seckey", "wrong-secret": "seckey", "rsa": "pubkey", "wrong-rsa": "pubkey"}
WRONG = {"secret": "wrong-secret", "rsa": "wrong-rsa"}

SIZE_SMALL = 600
SIZE_LARGE = 64 * 1024
LARGE_PART = 16 * 1024

VISITOR = "visitor"
VISITOR_SECRET = "the visitor's own secret"

Json = dict[str, Any]


def admin_value(admin: str) -> Json:
    """HS_ADMIN with every permission for both keys of the administrator (index 0 = any)."""
    return {"index": 100, "type": "HS_ADMIN", "admin": {"handle": admin, "index": 0, "permissions": "1" * 12}}


def text_value(index: int, kind: str, text: str, **more: Any) -> Json:
    return {"index": index, "type": kind, "data": text, **more}


def plain_values(admin: str) -> list[Json]:
    """A record of every sort of value the operations touch."""
    return [
        text_value(1, "URL", "https://example.org/part/1"),
        text_value(2, "EMAIL", "parts@example.org"),
        text_value(3, "DESC", "only administrators read this", public_read=False),
        text_value(4, "DESC", "nobody changes this", admin_write=False),
        admin_value(admin),
    ]


def sized_values(admin: str, size: int) -> list[Json]:
    """A record whose data add up to at least `size` octets, in parts of at most 16 KiB that all differ."""
    values = [admin_value(admin)]
    for index, start in enumerate(range(0, size, LARGE_PART), start=1):
        length = min(LARGE_PART, size - start)
        values.append(text_value(index, "DESC", (f"part {index} of {size}; " * length)[:length]))
    return values


@dataclass(frozen=True, slots=True)
class Operation:
    """One row of the table.

    `prepare` names the record that exists before (plain, 600, 64k) or is empty; `code` is the response code the
    server must have given at last, `authenticates` whether it checks a credential on the way, `public` whether the
    request is made without any credential, `adapter` whether HSAdapter can express it, `encrypts` whether a session
    hides it (a value without public read is inside), `in_session` whether the client uses its session for it at all.
    """

    name: str
    op: str
    opcode: int
    code: int = 1
    prepare: str = "plain"
    values: str = ""
    extra: tuple[tuple[str, Any], ...] = ()
    public: bool = False
    authenticates: bool = True
    wrong_key: bool = False
    visitor: bool = False
    encrypts: bool = False
    in_session: bool = True
    adapter: bool = True
    transports: tuple[str, ...] = TRANSPORTS


def _extra(**fields: Any) -> tuple[tuple[str, Any], ...]:
    return tuple(fields.items())


RESOLUTIONS = (
    Operation("resolve all", "resolve", RESOLVE, public=True),
    Operation("resolve by type", "resolve", RESOLVE, public=True, extra=_extra(types=["URL"])),
    Operation("resolve by index", "resolve", RESOLVE, public=True, extra=_extra(indexes=[2])),
    Operation("resolve 600 B", "resolve", RESOLVE, public=True, prepare="600"),
    Operation("resolve 64 KiB", "resolve", RESOLVE, public=True, prepare="64k"),
    Operation("resolve certified", "resolve", RESOLVE, public=True, adapter=False, extra=_extra(certify=True)),
    Operation("resolve missing handle", "resolve", RESOLVE, 100, public=True, prepare=""),
    Operation("resolve missing value", "resolve", RESOLVE, 200, public=True, extra=_extra(indexes=[77]), adapter=False),
    Operation("resolve restricted", "resolve", RESOLVE, adapter=False, extra=_extra(restricted=True, indexes=[3])),
)

ADMINISTRATION = (
    Operation("create 600 B", "create", CREATE, prepare="", values="600"),
    Operation("create 64 KiB", "create", CREATE, prepare="", values="64k"),
    Operation("create HS_SECKEY", "create", CREATE, prepare="", values="seckey", encrypts=True),
    Operation("add", "add", ADD, values="added"),
    Operation("modify", "modify", MODIFY, values="changed"),
    Operation("remove", "remove", REMOVE, extra=_extra(indexes=[2])),
    Operation("delete", "delete", DELETE),
    Operation("list", "list", LIST, adapter=False, transports=("tcp", "http"), in_session=False),
)

ERRORS = (
    Operation(
        "create, wrong key",
        "create",
        CREATE,
        403,
        prepare="",
        values="plain",
        encrypts=True,
        wrong_key=True,
        adapter=False,
    ),
    Operation(
        "create, no right",
        "create",
        CREATE,
        400,
        prepare="",
        values="plain",
        encrypts=True,
        visitor=True,
        adapter=False,
    ),
    Operation("modify, no right", "modify", MODIFY, 400, values="changed", visitor=True, adapter=False),
    Operation("delete missing handle", "delete", DELETE, 100, prepare="", authenticates=False),
    Operation("create existing", "create", CREATE, 101, values="plain", encrypts=True, authenticates=False),
    Operation("add existing value", "add", ADD, 201, values="changed", authenticates=False),
    Operation("modify missing value", "modify", MODIFY, 200, values="unknown", authenticates=False),
    Operation("modify read-only value", "modify", MODIFY, 401, values="locked", authenticates=False),
)

CHANGED_URL = "https://example.org/part/1/changed"
ADDED = "added later"


def request_values(kind: str, admin: str) -> list[Json]:
    """The values a request carries, by the name in `Operation.values` or `Operation.prepare`."""
    table = {
        "plain": plain_values(admin),
        "600": sized_values(admin, SIZE_SMALL),
        "64k": sized_values(admin, SIZE_LARGE),
        "seckey": [admin_value(admin), text_value(300, "HS_SECKEY", "fictional secret", public_read=False)],
        "added": [text_value(5, "DESC", ADDED)],
        "changed": [text_value(1, "URL", CHANGED_URL)],
        "unknown": [text_value(77, "URL", CHANGED_URL)],
        "locked": [text_value(4, "DESC", "a change nobody may make")],
    }
    return table[kind]


@dataclass(frozen=True, slots=True)
class Cell:
    """One run of an operation: by which object of the library, over which transport, with which key."""

    operation: Operation
    via: str
    transport: str
    credential: str
    session: str

    def __str__(self) -> str:
        parts = (self.operation.name, self.via, self.transport, self.credential, f"session-{self.session}")
        return "-".join(parts).replace(" ", "_").replace(",", "")


def _credentials(operation: Operation) -> tuple[str, ...]:
    if operation.public:
        return ("none",)
    if operation.visitor:
        return ("secret",)
    return tuple(WRONG[key] for key in KEYS) if operation.wrong_key else KEYS


def cells() -> Iterator[Cell]:
    """Every cell. HSAdapter always keeps sessions for administration; HandleResolver is run with and without."""
    for operation in (*RESOLUTIONS, *ADMINISTRATION, *ERRORS):
        for transport in operation.transports:
            for credential in _credentials(operation):
                for session in ("off",) if operation.public else ("off", "on"):
                    yield Cell(operation, "resolver", transport, credential, session)
                if operation.adapter:
                    yield Cell(operation, "adapter", transport, credential, "off" if operation.public else "on")
