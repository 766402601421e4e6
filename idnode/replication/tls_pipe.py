"""TLS over octets that somebody else carries: a replication stream switches to it in the middle of a connection.

No socket and no event loop in it, so it works over simulated connections as over real ones.
"""

from __future__ import annotations

import contextlib
import ssl
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, rsa

from idnode_registry.crypto import public_key_octets

READ_OCTETS: Final = 65_536


class TlsFailed(Exception):
    """The peer broke the TLS protocol, or ended the connection without saying so; nothing after that counts."""


def client_context() -> ssl.SSLContext:
    """TLS 1.2 and later that takes any certificate: the key in it is compared with the one that is trusted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def key_of_certificate(certificate: bytes | None) -> bytes:
    """The public key of a DER certificate as a site record holds it; empty when there is none of a kind we know."""
    if certificate is None:
        return b""
    try:
        key = x509.load_der_x509_certificate(certificate).public_key()
    except (ValueError, UnsupportedAlgorithm):
        return b""
    return public_key_octets(key) if isinstance(key, rsa.RSAPublicKey | dsa.DSAPublicKey) else b""


class TlsPipe:
    """One end of a TLS connection. Ciphertext goes into :meth:`receive`; what is to be sent comes from ``outgoing``."""

    def __init__(self, context: ssl.SSLContext, *, server_side: bool) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side)
        self.is_open = False
        self.is_ended = False
        """The peer said that it sends no more."""

    def receive(self, ciphertext: bytes = b"") -> bytes:
        """The plaintext these octets complete; drives the handshake first. Raises :class:`TlsFailed`."""
        self._incoming.write(ciphertext)
        plain = bytearray()
        try:
            if not self.is_open:
                self._tls.do_handshake()
                self.is_open = True
            while not self.is_ended:
                part = self._tls.read(READ_OCTETS)
                if not part:
                    self.is_ended = True
                plain += part
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.is_ended = True
        except ssl.SSLError as wrong:
            raise TlsFailed(f"TLS: {wrong.reason or wrong}") from wrong
        return bytes(plain)

    def send(self, plaintext: bytes) -> None:
        """Encrypt; fetch the result with :meth:`outgoing`."""
        if plaintext:
            self._tls.write(plaintext)

    def close(self) -> None:
        """Say that no more is sent."""
        with contextlib.suppress(ssl.SSLError):  # the peer's answer is not waited for
            self._tls.unwrap()

    def outgoing(self) -> bytes:
        """Ciphertext to be sent now."""
        return self._outgoing.read()

    @property
    def peer_key(self) -> bytes:
        """The peer's public key, as a site record holds it."""
        return key_of_certificate(self._tls.getpeercert(binary_form=True))
