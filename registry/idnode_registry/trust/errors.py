"""Why a signature, certificate or key of a record is not used. One root, which is the root of all errors of trust."""

from __future__ import annotations

from idnode_registry.crypto import TrustError


class JwsRefused(TrustError):
    """The octets are no JWS in a form that is read here; the record's owner must sign it again."""


class ClaimsRefused(TrustError):
    """The payload does not say what a signature or certificate must; the message names the member."""


class AlgorithmRefused(TrustError):
    """The header names an algorithm that this key does not take; the key decides, never the header."""


class OverBudget(TrustError):
    """Going on would cost more than one verification may; the verdict is *not checked*. The message names the bound."""


class SigningRefused(TrustError):
    """What was asked to be signed cannot be; nothing was changed."""


class NoTrustRoot(TrustError):
    """Signatures are to be judged, and nobody is believed or nothing is resolved; the message names the setting."""
