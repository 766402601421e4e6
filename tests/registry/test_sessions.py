"""Sessions: the exchange of the vectors, refusals before any arithmetic, MACs, counters, identity, bounds."""

from __future__ import annotations

import random
import time
from dataclasses import replace

import pytest

from idnode_protocol.credential import Credential
from idnode_protocol.envelope import Envelope
from idnode_protocol.errors import ProtocolError
from idnode_protocol.message import Message, build, decode_message
from idnode_protocol.requests import SessionSetupRequest, decode_request
from idnode_protocol.session_keys import OAKLEY_GROUP_2, SessionAlgorithm, SessionKey, decode_exchange
from idnode_protocol.value import Reference
from idnode_protocol.values.keys import DhPublicKey
from idnode_protocol.versions import Version
from idnode_registry.ask import Caller
from idnode_registry.challenges import Numbers
from idnode_registry.crypto import DecryptionFailed
from idnode_registry.sessions import (
    IDLE_S_MAX,
    LIFE_S_MAX,
    Session,
    SessionPlan,
    SessionRefused,
    SessionTable,
    plan,
)

P = OAKLEY_GROUP_2.p
SETUP_REQUEST = bytes.fromhex(
    "020b020b0000000000000001000000000000015c"
    "000001900000000059800000ffff0000655499c000000140"
    "0004000151800000000d33352e544553542f41444d494e0000012c0000011f0000000a44485f5055425f4b45590000"
    "0000008100ea72e45056fd06ffb9725db78f9b1773b5142805975d9e152647437e458ecf783b782f1b41620cc747664e10f8ec5cdc337e37"
    "e675b50b8328a4c7805202831a16bfff15605ba0cd87d0b57df42a59363019cee93450cab7ed26916aff16f2128b63ab3d435cd5ad1d11fb"
    "576ede7172f1b374f237d25ad0e5b16af916b0f39d"
    "0000008100ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404ddef9519"
    "b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b0bff5cb6f406b7edee386bfb5a899fa5ae9f24"
    "117c4b1fe649286651ece65381ffffffffffffffff"
    "0000000102000000000000"
)
SERVER_Y = int(
    "43cada7017fec10604f2e3428b0f682de117519fd45495e28030bd1b9ccabacd161e4ec3906b239e1d3de36903858e23c1d460963f904dc4"
    "1dd5acdf6ddf78dd97e46c48db5027b004150eea3a560823d600aca471a3e1c7f003f73997176a56b28db65b1f6cda3c932a7b0556e4213e"
    "47bebac92d9c97310761bda58299d765",
    16,
)
SESSION_KEY = bytes.fromhex("67df1cc538880129d61748ed70a5bf89ff954496d9a4a28956a22e2f47cbd1e5")
MACED_CREATE = bytes.fromhex(
    "020b020b000000090102030400000000000000ad"
    "00000064000000001900000000010000655499c0000000440000000b33352e544553542f6e657700000001000000016553f1000000015180"
    "0e0000000355524c0000001468747470733a2f2f6578616d706c652e6f72672f00000000"
    "0000004d00000000000000000000000100000006"
    "48535f4d4143000000330000000b484d41432d534841323536"
    "0000002078adf598ed3c3fd34af9a81b3625377ad2ffec068cae40c0f7fdd27e42ba9713"
)
MAC_KEY = SessionKey(SessionAlgorithm.AES, bytes(range(0x10, 0x30)))
ENVELOPE = Envelope(1, 0)
USER = Reference(b"35.TEST/ADMIN", 300)
SETUP = SessionSetupRequest(4, 86_400, USER.handle, USER.index, DhPublicKey(pow(2, 99, P), P, 2).to_octets())
RNG = random.Random(11).randbytes


def planned(request: SessionSetupRequest = SETUP, envelope: Envelope = ENVELOPE) -> SessionPlan:
    found = plan(request, envelope, RNG)
    assert isinstance(found, SessionPlan)
    return found


def refused(request: SessionSetupRequest = SETUP, envelope: Envelope = ENVELOPE) -> int:
    found = plan(request, envelope, RNG)
    assert isinstance(found, SessionRefused)
    assert found.reason
    return found.code


def session(number: int = 9, key: SessionKey = MAC_KEY, now: float = 0.0) -> Session:
    return Session(number, planned(), key, "192.0.2.1", now)


def sessions(**changes) -> SessionTable:
    return SessionTable(Numbers(random.Random(13).randbytes), **changes)


# -- set-up -----------------------------------------------------------------------------------------------------------


def test_exchange_of_the_vectors() -> None:
    message = decode_message(SETUP_REQUEST)
    request = decode_request(400, message.body, message.envelope.version)
    assert isinstance(request, SessionSetupRequest)
    found = replace(planned(request, message.envelope), exponent=int("fedcba9876543210" * 5, 16))
    assert found.identity == USER
    keys = found.compute()
    assert keys.key.mac_key == SESSION_KEY
    assert keys.key.cipher_key == SESSION_KEY[:16]
    assert keys.response.mode == 4
    assert decode_exchange(keys.response.data) == (3, DhPublicKey(SERVER_Y, P, 2))


def test_both_sides_get_the_same_key() -> None:
    found = planned()
    keys = found.compute()
    _, mine = decode_exchange(keys.response.data)
    secret = pow(mine.y, 99, P).to_bytes(128, "big")
    start = min(len(secret) - len(secret.lstrip(b"\0")), 96)
    assert keys.key.octets == secret[start : start + 32]
    assert found.exponent.bit_length() == 256
    assert str(found.exponent) not in repr(found)


@pytest.mark.parametrize(
    ("version", "suggested", "code"),
    [
        (Version(2, 3), Version(2, 11), 0),
        (Version(2, 11), Version(2, 7), 0),
        (Version(2, 0), Version(2, 12), 0),
        (Version(2, 11), Version(2, 6), 4),
        (Version(2, 6), Version(0, 0), 4),
        (Version(5, 0), Version(5, 0), 4),
    ],
)
def test_older_is_judged_by_the_version_of_the_answer(version: Version, suggested: Version, code: int) -> None:
    envelope = Envelope(1, 0, version, suggested)
    found = plan(SETUP, envelope, RNG)
    assert (found.code if isinstance(found, SessionRefused) else 0) == code


@pytest.mark.parametrize("mode", [1, 2, 3])
def test_other_modes_are_refused(mode: int) -> None:
    assert refused(replace(SETUP, mode=mode)) in (501, 503)


@pytest.mark.parametrize(
    ("y", "p", "g"),
    [
        (5, 23, 2),
        (5, 2**1_022 + 1, 2),
        (5, P - 1, 2),
        (5, 2**3_072 + 1, 2),
        (5, 2**16_000 + 1, 2),
        (5, P, 0),
        (5, P, 1),
        (5, P, P - 1),
        (5, P, P + 2),
        (0, P, 2),
        (1, P, 2),
        (P - 1, P, 2),
        (P, P, 2),
        (P + 5, P, 2),
        (2**16_000, P, 2),
    ],
    ids=range(15),
)
def test_hostile_groups_are_refused_before_any_work(y: int, p: int, g: int) -> None:
    request = replace(SETUP, public_key=DhPublicKey(y, p, g).to_octets())
    began = time.process_time()
    for _ in range(20):
        assert refused(request) == 504
    assert (time.process_time() - began) / 20 < 0.005, "an exponentiation was done"


@pytest.mark.parametrize("octets", [b"", b"\0\0\0\x0aDH_PUB_KEY", SETUP.public_key[:-3], b"\0\0\0\x0bRSA_PUB_KEY\0\0"])
def test_broken_keys_are_refused(octets: bytes) -> None:
    assert refused(replace(SETUP, public_key=octets)) == 504


def test_the_largest_group_costs_little() -> None:
    p = 2**3_072 - 1_103_717
    found = planned(replace(SETUP, public_key=DhPublicKey(p // 3, p, p // 5).to_octets()))
    costs = []
    for _ in range(3):
        began = time.process_time()
        found.compute()
        costs.append(time.process_time() - began)
    assert min(costs) < 0.1


@pytest.mark.parametrize(("asked", "idle"), [(86_400, 900), (60, 60), (900, 900), (0, 900), (-5, 900)])
def test_idle_time(asked: int, idle: int) -> None:
    assert planned(replace(SETUP, timeout=asked)).idle_s == idle


# -- messages ---------------------------------------------------------------------------------------------------------


def with_mac(found: Session, counter: int, envelope: Envelope | None = None) -> Message:
    """A client's message under a chosen counter: a fresh copy of the session seals until it gets there."""
    client = Session(found.id, planned(), found.key, "", 0.0)
    client._own_counter = counter - 1
    original = decode_message(MACED_CREATE)
    return client.seal(build(envelope or original.envelope, original.header, original.body))


def test_mac_of_the_vectors_and_its_replay() -> None:
    found = session()
    message = decode_message(MACED_CREATE)
    assert found.check(message) is None
    again = found.check(message)
    assert again is not None
    assert again.code == 505
    sealed = session().seal(build(message.envelope, message.header, message.body))
    assert sealed.to_octets() == MACED_CREATE, "our own counter starts at 1"


def test_every_flipped_octet_is_refused() -> None:
    found = session()
    for offset in [*range(12), *range(20, 112), *range(124, 128), *range(161, 193)]:
        octets = bytearray(MACED_CREATE)
        octets[offset] ^= 1
        try:
            message = decode_message(bytes(octets))
        except ProtocolError:
            continue
        refusal = found.check(message)
        assert refusal is not None, offset
        assert refusal.code in (4, 404, 502), offset
    assert found.check(decode_message(MACED_CREATE)) is None, "no forgery used up the counter"


def test_missing_foreign_and_broken_credentials() -> None:
    message = decode_message(MACED_CREATE)
    for credential, code in (
        (None, 404),
        (Credential("HS_SIGNED", b"SHA-256", bytes(32), 1), 404),
        (Credential("HS_MAC", b"SHA1", bytes(20), 1), 502),
        (Credential("HS_MAC", b"HMAC-SHA256", b"", 1), 502),
    ):
        refusal = session().check(build(message.envelope, message.header, message.body, credential))
        assert refusal is not None
        assert refusal.code == code
    broken = session().check(replace(message, credential_octets=b"\0\0\0"))
    assert broken is not None
    assert broken.code == 404


def test_a_mac_counts_only_for_its_own_session() -> None:
    other = Session(10, planned(), MAC_KEY, "", 0.0)
    refusal = other.check(decode_message(MACED_CREATE))
    assert refusal is not None
    assert refusal.code == 502


@pytest.mark.parametrize("minor", [0, 3, 5, 6])
def test_macs_of_old_messages_are_refused(minor: int) -> None:
    message = decode_message(MACED_CREATE)
    old = replace(message, envelope=replace(message.envelope, version=Version(2, minor)))
    refusal = session().check(old)
    assert refusal is not None
    assert refusal.code == 4


def test_mac_of_2_7() -> None:
    envelope = replace(decode_message(MACED_CREATE).envelope, version=Version(2, 7))
    assert session().check(with_mac(session(), 1, envelope)) is None


def test_counters() -> None:
    found = session()
    for counter, code in ((5, 0), (5, 505), (3, 0), (3, 505), (300, 0), (99, 505), (100, 0), (5, 505), (301, 0)):
        refusal = found.check(with_mac(found, counter))
        assert (refusal.code if refusal else 0) == code, counter
    zero = found.check(with_mac(found, 0))
    assert zero is not None
    assert zero.code == 505


def test_replays_in_random_order_are_accepted_once_each() -> None:
    found = session()
    messages = [with_mac(found, counter) for counter in range(1, 101)]
    stream = messages * 10
    random.Random(17).shuffle(stream)
    assert sum(found.check(message) is None for message in stream) == len(messages)


def test_encryption() -> None:
    found = session(key=SessionKey(SessionAlgorithm.AES, SESSION_KEY))
    vector = bytes.fromhex("6e32afe1e595bd7cfde0c295c12c64280f84b79bf1ee5919834873ef244e4f21")
    assert found.decrypt(vector) == b"hello world"
    assert found.encrypt(b"hello world", lambda size: vector[:size]) == vector
    with pytest.raises(DecryptionFailed):
        found.decrypt(vector[:-1])


# -- identity ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("handle", "index", "fits"),
    [
        (b"35.TEST/ADMIN", 300, True),
        (b"35.test/ADMIN", 300, True),
        (b"35.TEST/ADMIN", 301, False),
        (b"35.TEST/ADMIN", 0, False),
        (b"35.TEST/ADMIN2", 300, False),
        (b"35.TEST/admin", 300, False),
        (b"", -1, False),
    ],
)
def test_a_session_belongs_to_the_identity_named_at_set_up(handle: bytes, index: int, fits: bool) -> None:
    found = session()
    assert found.bind(handle, index, Caller(handle, index)) is fits
    assert found.is_authenticated is fits
    assert found.caller.is_anonymous is not fits


def test_an_anonymous_session_stays_anonymous() -> None:
    found = Session(9, planned(replace(SETUP, identity_handle=b"", identity_index=-1)), MAC_KEY, "", 0.0)
    assert not found.bind(b"", -1, Caller(b"", -1))
    assert not found.bind(b"35.TEST/ADMIN", 300, Caller(b"35.TEST/ADMIN", 300))
    assert found.caller.is_anonymous


# -- the table --------------------------------------------------------------------------------------------------------

KEYS = planned().compute()


def test_life_and_idle_time() -> None:
    table = sessions()
    short = table.register(planned(replace(SETUP, timeout=60)), KEYS, "a", 0.0)
    long = table.register(planned(), KEYS, "a", 0.0)
    assert table.get(short.id, 59.0) is short
    assert table.get(short.id, 60.0) is None
    now = 0.0
    while now < LIFE_S_MAX:
        assert table.get(long.id, now) is long
        table.touch(long, now)
        now += IDLE_S_MAX - 1
    assert table.get(long.id, now) is None
    assert len(table) == 0


def test_looking_at_a_session_does_not_keep_it_alive() -> None:
    table = sessions()
    found = table.register(planned(), KEYS, "a", 0.0)
    assert table.get(found.id, 899.0) is found
    assert table.get(found.id, 901.0) is None


def test_terminate_ends_a_session_and_tells() -> None:
    ended: list[int] = []
    numbers = Numbers(random.Random(1).randbytes)
    table = SessionTable(numbers, on_end=lambda gone: ended.append(gone.id))
    found = table.register(planned(), KEYS, "a", 0.0)
    assert table.drop(found.id)
    assert not table.drop(found.id)
    assert table.get(found.id, 0.0) is None
    assert ended == [found.id]
    assert len(numbers) == 0
    table.touch(found, 1.0)
    assert len(table) == 0, "a session that ended does not come back"


def test_sessions_that_nobody_authenticated_go_first() -> None:
    table = sessions(sessions_max=4, per_source_max=100)
    kept = table.register(planned(), KEYS, "a", 0.0)
    assert kept.bind(USER.handle, USER.index, Caller(USER.handle, USER.index))
    table.touch(kept, 0.0)
    others = [table.register(planned(), KEYS, f"s{n}", 1.0) for n in range(10)]
    assert len(table) == 4
    assert table.get(kept.id, 1.0) is kept
    assert [other for other in others if table.get(other.id, 1.0)] == others[-3:]


def test_a_source_has_a_bound() -> None:
    table = sessions(per_source_max=3)
    mine = table.register(planned(), KEYS, "a", 0.0)
    mine.bind(USER.handle, USER.index, Caller(USER.handle, USER.index))
    table.touch(mine, 0.0)
    for _ in range(20):
        table.register(planned(), KEYS, "flood", 0.0)
        table.register(planned(), KEYS, "a", 0.0)
    assert len(table) == 6
    assert table.get(mine.id, 0.0) is mine
    for _ in range(20):
        table.register(planned(), KEYS, "127.0.0.1", 0.0, trusted=True)
    assert len(table) == 26
    assert table.expire(10_000.0) == 26
