"""What a client's caller has to expect."""

from __future__ import annotations

from idnode_protocol.codes import ResponseCode, response_text


class ClientError(Exception):
    """Root of the client's errors; never raised itself."""


class NoAnswer(ClientError):
    """No interface of the server answered; is it running, and is the address right?"""


class Untrusted(ClientError):
    """An answer came, but its digest, signature or form is wrong: it is not the server's answer to this request."""


class Refused(ClientError):
    """The server answered no; ``code`` is the response code (docs/protocol.md §3.5), ``text`` the server's reason."""

    def __init__(self, code: int, text: str, subject: str) -> None:
        self.code, self.text = code, text
        reason = f": {text}" if text else ""
        super().__init__(f"{subject}: {response_text(code)} (code {int(code)}){reason}")


class HandleNotFound(Refused):
    """There is no such handle (code 100)."""


class ValuesNotFound(Refused):
    """The handle has no value of the kind asked for, or none the caller may see (code 200)."""


class SessionLost(Refused):
    """The server does not know the session (any more), or refused a message in it; a new one may be set up."""


class NoSession(ClientError):
    """The server sets up no session we can use; ``session=False`` (``--no-session``) proves each request by itself."""


class ConfigUnusable(ClientError):
    """A file of a client-config folder cannot be used; the message names it and says what is wrong."""


def refused(code: int, text: str, subject: str) -> Refused:
    """The error for a response code."""
    kinds: dict[int, type[Refused]] = {
        ResponseCode.HANDLE_NOT_FOUND: HandleNotFound,
        ResponseCode.VALUES_NOT_FOUND: ValuesNotFound,
    }
    return kinds.get(code, Refused)(code, text, subject)
