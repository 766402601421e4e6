"""Opcodes, response codes, flags and permission bits (docs/protocol.md §2, §3; RFC 3652 §2.2.2).

Numbers without a name stay alive: a message keeps the plain ``int`` and ``name_of`` prints ``OPCODE 2001``.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Final


class OpCode(IntEnum):
    """What a request asks for."""

    RESERVED = 0
    RESOLUTION = 1
    GET_SITE_INFO = 2
    CREATE_HANDLE = 100
    DELETE_HANDLE = 101
    ADD_VALUES = 102
    REMOVE_VALUES = 103
    MODIFY_VALUES = 104
    LIST_HANDLES = 105
    CHALLENGE_ANSWER = 200
    VERIFY_ANSWER = 201
    HOME_PREFIX = 300
    UNHOME_PREFIX = 301
    LIST_HOMED_PREFIXES = 302
    SESSION_SETUP = 400
    SESSION_TERMINATE = 401
    SESSION_KEY_EXCHANGE = 402
    GET_NEXT_TXN_ID = 1000
    RETRIEVE_TXN_LOG = 1001
    DUMP_HANDLES = 1002
    BACKUP_SERVER = 1003


class ResponseCode(IntEnum):
    """How a request ended; 0 marks a request."""

    REQUEST = 0
    SUCCESS = 1
    ERROR = 2
    SERVER_BUSY = 3
    PROTOCOL_ERROR = 4
    OPERATION_NOT_SUPPORTED = 5
    RECURSION_COUNT_TOO_HIGH = 6
    SERVER_READ_ONLY = 7
    HANDLE_NOT_FOUND = 100
    HANDLE_ALREADY_EXISTS = 101
    INVALID_HANDLE = 102
    VALUES_NOT_FOUND = 200
    VALUE_ALREADY_EXISTS = 201
    INVALID_VALUE = 202
    OUT_OF_DATE_SITE_INFO = 300
    SERVER_NOT_RESPONSIBLE = 301
    SERVICE_REFERRAL = 302
    PREFIX_REFERRAL = 303
    INVALID_ADMIN = 400
    INSUFFICIENT_PERMISSION = 401
    AUTHENTICATION_NEEDED = 402
    AUTHENTICATION_FAILED = 403
    INVALID_CREDENTIAL = 404
    AUTHENTICATION_TIMEOUT = 405
    AUTHENTICATION_ERROR = 406
    SESSION_TIMEOUT = 500
    SESSION_FAILED = 501
    INVALID_SESSION_KEY = 502
    RSA_KEY_NEEDED = 503
    INVALID_SESSION_SETUP = 504
    SESSION_MESSAGE_REJECTED = 505


class OpFlag(IntFlag):
    """opFlags of the header."""

    AT = 0x80000000
    CT = 0x40000000
    ENC = 0x20000000
    REC = 0x10000000
    CA = 0x08000000
    CN = 0x04000000
    KC = 0x02000000
    PO = 0x01000000
    RD = 0x00800000
    OWE = 0x00400000
    MNS = 0x00200000
    DNR = 0x00100000


REQUEST_FLAGS: Final = int(OpFlag.REC | OpFlag.CA | OpFlag.PO)
"""Flags of a plain request of the stock client."""
RESPONSE_COPIED_FLAGS: Final = int(OpFlag.CT | OpFlag.CA | OpFlag.ENC | OpFlag.PO | OpFlag.DNR | OpFlag.RD)
"""Flags a response copies from its request; AT is set by a primary, REC always (docs/protocol.md §3.3)."""

ADMIN_OPCODES: Final = frozenset({100, 101, 102, 103, 104, 105, 300, 301, 302, 1000, 1001, 1002, 1003})
QUERY_OPCODES: Final = frozenset({1})
"""Everything else may arrive at any interface."""


class ValuePermission(IntFlag):
    """The four permission bits of a handle value."""

    PUBLIC_WRITE = 0x01
    PUBLIC_READ = 0x02
    ADMIN_WRITE = 0x04
    ADMIN_READ = 0x08


DEFAULT_VALUE_PERMISSIONS: Final = 0x0E
DEFAULT_TTL_S: Final = 86_400


class AdminPermission(IntFlag):
    """The bits of an HS_ADMIN value (docs/protocol.md §2.3)."""

    ADD_HANDLE = 0x0001
    DELETE_HANDLE = 0x0002
    ADD_DERIVED_PREFIX = 0x0004
    DELETE_DERIVED_PREFIX = 0x0008
    MODIFY_VALUE = 0x0010
    REMOVE_VALUE = 0x0020
    ADD_VALUE = 0x0040
    MODIFY_ADMIN = 0x0080
    REMOVE_ADMIN = 0x0100
    ADD_ADMIN = 0x0200
    READ_VALUE = 0x0400
    LIST_HANDLES = 0x0800


ALL_ADMIN_PERMISSIONS: Final = 0x0FFF

_RESPONSE_TEXT: Final[dict[int, str]] = {
    1: "success",
    2: "error",
    3: "server too busy",
    4: "protocol error",
    5: "operation not supported",
    6: "recursion count too high",
    7: "server is read-only",
    100: "handle not found",
    101: "handle already exists",
    102: "invalid handle",
    200: "values not found",
    201: "value already exists",
    202: "invalid value",
    300: "site information out of date",
    301: "server not responsible for this handle",
    302: "service referral",
    303: "prefix referral",
    400: "invalid admin",
    401: "insufficient permission",
    402: "authentication needed",
    403: "authentication failed",
    404: "invalid credential",
    405: "authentication timed out",
    406: "authentication error",
    500: "session timed out",
    501: "session failed",
    502: "invalid session key",
    503: "an RSA key is needed",
    504: "invalid session set-up request",
    505: "session message rejected",
}


def response_text(code: int) -> str:
    """The phrase for a response code; unknown numbers give ``response code N``."""
    return _RESPONSE_TEXT.get(code, f"response code {code}")


def opcode_name(opcode: int) -> str:
    """The name of an opcode; unknown numbers give ``OPCODE N``."""
    try:
        return OpCode(opcode).name
    except ValueError:
        return f"OPCODE {opcode}"
