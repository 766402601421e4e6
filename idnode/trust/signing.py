"""The key with which a node signs what it registers: from its settings to a sealer (docs/protocol.md §8.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from idnode_protocol.codes import OpCode
from idnode_registry.keystore import read_private_key
from idnode_registry.trust.claims import parse_entity
from idnode_registry.trust.errors import SigningRefused
from idnode_registry.trust.keys import HandleKey
from idnode_registry.trust.sealing import Sealer

if TYPE_CHECKING:
    from idnode.adapters import Adapters
    from idnode.config import TrustConfig

OTHERS: Final = 0o077
SIGNED_WRITES: Final = frozenset({OpCode.CREATE_HANDLE, OpCode.ADD_VALUES, OpCode.REMOVE_VALUES, OpCode.MODIFY_VALUES})
"""After these a record is signed anew: some milliseconds of arithmetic, so off the event loop."""


def load_sealer(config: TrustConfig, adapters: Adapters) -> Sealer | None:
    """None unless the settings ask for signing; raises RegistryError subclasses and OSError for what cannot be used."""
    if not config.sign:
        return None
    if config.key_file is None or config.certificate_file is None:
        raise SigningRefused("trust.sign needs trust.key_file and trust.certificate_file: the key and its HS_CERT")
    mode = adapters.disk.mode(config.key_file)
    if mode & OTHERS:
        raise SigningRefused(f"{config.key_file} has mode {mode:o} and can be read by others: chmod 600 it")
    key = HandleKey(read_private_key(adapters.disk.read(config.key_file)))
    certificate = adapters.disk.read(config.certificate_file).strip()
    return Sealer(key, certificate, [parse_entity(text) for text in config.chain], config.signature_life_s)
