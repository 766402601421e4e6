"""What the adapters raise beside the operating system's own errors; the docstring is the message's meaning."""

from __future__ import annotations


class AdapterError(Exception):
    """Root of all errors of the adapters; never raised itself."""


class ListenFailed(AdapterError):
    """The address cannot be listened on; the operator has to change the configuration or the machine."""

    def __init__(self, kind: str, address: str, reason: str, fix: str) -> None:
        self.kind = kind
        self.address = address
        super().__init__(f"cannot listen on {kind} {address}: {reason}; {fix}")


class AddressTaken(ListenFailed):
    """Another process (or another node of this one) listens on the address already."""


class AddressForbidden(ListenFailed):
    """The operating system does not let this user listen on the port."""


class AddressNotHere(ListenFailed):
    """No interface of this machine has the address, or its family is switched off."""


class NotAnAddress(AdapterError):
    """A listening address must be a literal IPv4 or IPv6 address; a name could mean several of them."""

    def __init__(self, text: str) -> None:
        super().__init__(f"{text!r} is not an IPv4 or IPv6 address; write for example 127.0.0.1, 0.0.0.0, ::1 or ::")


class Unreachable(AdapterError):
    """The peer cannot be reached, or does not answer at that address; another address may be tried."""

    def __init__(self, host: str, port: int, reason: object) -> None:
        self.host = host
        self.port = port
        super().__init__(f"cannot reach {host} port {port}: {reason}")


class NobodyListens(AdapterError):
    """No process listens on the Unix socket: it has ended, or has not begun yet."""

    def __init__(self, path: str, reason: object) -> None:
        super().__init__(f"nobody listens on {path}: {reason}")


class ChannelClosed(AdapterError):
    """The datagram channel was closed, by us; nothing can be sent or received on it any more."""


class AlreadyLocked(AdapterError, BlockingIOError):
    """Somebody else holds the lock on this path; stop that process or choose another path."""

    def __init__(self, path: str, holder: str) -> None:
        self.path = path
        by = f" by process {holder}" if holder else ""
        super().__init__(f"{path} is locked{by}; stop that process first or use another folder")


class NotSimulated(AdapterError):
    """The simulation does not offer this; run the code on the real adapters."""


class Deadlock(AdapterError):
    """Nothing is scheduled and the main task waits: in real life it would wait for ever."""


class Crashed(AdapterError):
    """The simulated machine lost its power at this step; go on with what the disk kept."""
