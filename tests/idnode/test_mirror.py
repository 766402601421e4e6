"""A node as mirror of a node, over real sockets: TLS and HTTPS, keys, dumps, breaks, shares, what clients see (§10)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from idnode.adapters import Adapters, real_adapters
from idnode.client.administrator import Administrator
from idnode.client.errors import NoAnswer, Refused
from idnode.client.resolver import Resolver
from idnode.config import MirrorConfig, NodeConfig, StoreConfig
from idnode.node import Node
from idnode.replication import mirror as mirror_task
from idnode.replication import serving
from idnode.replication.mirror import MirrorState, NoMirror
from idnode_protocol.codes import OpCode
from idnode_protocol.requests import DumpRequest, HandleRequest
from idnode_protocol.value import HandleValue
from idnode_registry.ask import SYSTEM, Ask
from idnode_registry.engines.memory import MemoryStore
from idnode_registry.keystore import write_private_key
from idnode_registry.replication import dump, dump_taking, journal_feed
from idnode_registry.replication.digests import store_digest
from idnode_registry.replication.receiver import Receiver
from idnode_registry.replication.verifying import JournalCheck
from tests.idnode.client.hostile_relay import ADMIN_SIGNER, SECRET, SIGNER
from tests.idnode.mirrors import (
    ADMIN_TEXT,
    LISTEN,
    MIRROR_SIGNER,
    OTHER_SIGNER,
    Cutter,
    caught_up,
    home_and_put,
    https,
    key_text,
    mirror_node,
    primary_node,
    put,
    reaches,
    replace_ports,
    tcp,
)


@pytest.fixture
async def adapters() -> AsyncIterator[Adapters]:
    made = real_adapters()
    yield made
    made.close()


Settings = Callable[..., MirrorConfig]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A mirror's section for a primary's address; an interval so long that only ``hurry`` makes it ask again."""

    def made(primary: str, **more: Any) -> MirrorConfig:
        secret = tmp_path / "secret"
        secret.write_bytes(SECRET + b"\n")
        fields = {
            "primary": primary,
            "primary_keys": (key_text(SIGNER),),
            "administrator": ADMIN_TEXT,
            "secret_file": secret,
            "interval_s": 3_600.0,
        }
        return MirrorConfig(**{**fields, **more})

    return made


@pytest.mark.parametrize("dialect", ["idnode", "reference"])
@pytest.mark.parametrize("way", [tcp, https])
async def test_a_mirror_follows(
    adapters: Adapters, settings: Settings, way: Callable[[Node], str], dialect: str
) -> None:
    """Both ways, both dialects: a dump first, then what is new, deletions and homings too."""
    async with primary_node(adapters) as primary:
        for number in range(600):
            put(primary, f"99.900/Part-{number}".encode(), b"x" * 40)
        async with mirror_node(adapters, settings(way(primary), dialect=dialect)) as mirror:
            await caught_up(mirror, primary)
            assert mirror.mirror is not None
            assert (mirror.mirror.status.dumps, mirror.mirror.status.dumped_records > 600) == (1, True)
            for number in range(20):
                put(primary, f"99.900/Part-{number}".encode(), b"changed")
            delete = Ask(int(OpCode.DELETE_HANDLE), HandleRequest(b"99.900/part-599"))
            home = Ask(int(OpCode.HOME_PREFIX), HandleRequest(b"0.NA/99.901"))
            for ask in (delete, home):
                assert primary.registry.execute(ask, SYSTEM, adapters.clock.now()).result(30).code == 1
            await caught_up(mirror, primary)
            assert mirror.mirror.status.dumps == 1
            assert b"0.NA/99.901" in mirror.registry.homed_prefixes()


async def test_signed_blocks_in_the_clear(adapters: Adapters, settings: Settings) -> None:
    """Over plain HTTP blocks are signed one by one: enough for the reference's dialect, not for ours."""
    async with primary_node(adapters) as primary:
        put(primary, b"99.900/a", b"x")
        plain = f"http://{primary.http_addresses[0]}"
        async with mirror_node(adapters, settings(plain, dialect="reference")) as mirror:
            await caught_up(mirror, primary)
        async with mirror_node(adapters, settings(plain)) as mirror:
            await reaches(mirror, MirrorState.REFUSED)
            assert mirror.mirror is not None
            assert "TLS" in mirror.mirror.status.reason


async def test_a_private_key_instead_of_a_secret(adapters: Adapters, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(write_private_key(ADMIN_SIGNER, None, adapters.rng.octets))
    fields = {"administrator": "301:99.900/ADMIN", "secret_file": None, "private_key_file": tmp_path / "key"}
    async with primary_node(adapters) as primary, mirror_node(adapters, settings(tcp(primary), **fields)) as mirror:
        await caught_up(mirror, primary)


@pytest.mark.parametrize("way", [tcp, https])
@pytest.mark.parametrize("dialect", ["idnode", "reference"])
async def test_another_key_is_refused(
    adapters: Adapters, settings: Settings, way: Callable[[Node], str], dialect: str
) -> None:
    """A primary with a key that is not (any more) among the trusted ones: nothing of it is taken."""
    async with (
        primary_node(adapters, signer=OTHER_SIGNER) as impostor,
        mirror_node(adapters, settings(way(impostor), dialect=dialect)) as mirror,
    ):
        await reaches(mirror, MirrorState.REFUSED)
        assert mirror.mirror is not None
        assert "key" in mirror.mirror.status.reason
        assert store_digest(mirror.store)[0] == 0


async def test_keys_rotate(adapters: Adapters, settings: Settings) -> None:
    """While both keys are listed either primary is followed; once the old one is taken out it is worth nothing."""
    store, held = MemoryStore("fold-all"), MemoryStore("fold-all")
    both = (key_text(SIGNER), key_text(OTHER_SIGNER))
    async with (
        primary_node(adapters, store=store) as primary,
        mirror_node(adapters, settings(tcp(primary), primary_keys=both), store=held) as mirror,
    ):
        await caught_up(mirror, primary)
    async with primary_node(adapters, store=store, signer=OTHER_SIGNER) as primary:
        put(primary, b"99.900/new", b"x")
        async with mirror_node(adapters, settings(tcp(primary), primary_keys=both), store=held) as mirror:
            await caught_up(mirror, primary)
        async with mirror_node(adapters, settings(tcp(primary)), store=held) as mirror:
            await reaches(mirror, MirrorState.REFUSED)


async def test_who_may_not_replicate_is_told(adapters: Adapters, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "wrong").write_bytes(b"not the secret")
    async with primary_node(adapters) as primary:
        for fields in ({"secret_file": tmp_path / "wrong"}, {"administrator": "300:99.900/NOBODY"}):
            async with mirror_node(adapters, settings(tcp(primary), **fields)) as mirror:
                await reaches(mirror, MirrorState.UNREACHABLE)
                assert mirror.mirror is not None
                assert "code 40" in mirror.mirror.status.reason


async def test_what_clients_of_a_mirror_see(adapters: Adapters, settings: Settings) -> None:
    """It answers resolutions without AT, its site is not primary, it refuses changes with 301, it lists."""
    async with primary_node(adapters) as primary:
        put(primary, b"99.900/a", b"https://example.org/")
        async with mirror_node(adapters, settings(tcp(primary))) as mirror:
            await caught_up(mirror, primary)
            assert not mirror.site.is_primary
            async with Resolver(tcp(mirror), adapters=adapters) as resolver:
                record = await resolver.resolve("99.900/A")
                assert (record.data("URL"), record.is_authoritative) == (b"https://example.org/", False)
                assert not (await resolver.site()).is_primary
                async with Administrator(resolver, "99.900/ADMIN", 300, secret=SECRET) as administrator:
                    with pytest.raises(Refused, match="not primary") as refused:
                        await administrator.create("99.900/b", [HandleValue(1, "URL", b"x")])
                    assert refused.value.code == 301
                    assert [name async for name in administrator.list("0.NA/99.900")] == ["99.900/a", "99.900/ADMIN"]


async def test_a_mirror_is_a_further_site_of_the_prefix(adapters: Adapters, settings: Settings) -> None:
    """Its site stands in the prefix handle beside the primary's, and comes back to the mirror by replication."""
    async with primary_node(adapters) as primary, mirror_node(adapters, settings(tcp(primary))) as mirror:
        await caught_up(mirror, primary)
        site = HandleValue(7, "HS_SITE", mirror.site.to_octets())
        async with (
            Resolver(tcp(primary), adapters=adapters) as resolver,
            Administrator(resolver, "99.900/ADMIN", 300, secret=SECRET) as administrator,
        ):
            await administrator.add("0.NA/99.900", [site])
        await caught_up(mirror, primary)
        async with Resolver(tcp(mirror), adapters=adapters) as resolver:
            found = [value for value in (await resolver.resolve("0.NA/99.900")).values if value.type == "HS_SITE"]
        assert [value.data for value in found] == [primary.site.to_octets(), mirror.site.to_octets()]


async def test_answers_kept_in_memory_are_dropped(adapters: Adapters, settings: Settings) -> None:
    """What the mirror's cache of answers holds is forgotten when a change comes by replication."""
    async with primary_node(adapters) as primary:
        put(primary, b"99.900/a", b"old")
        async with mirror_node(adapters, settings(tcp(primary))) as mirror:
            await caught_up(mirror, primary)
            async with Resolver(tcp(mirror), adapters=adapters) as resolver:
                for _ in range(3):
                    assert (await resolver.resolve("99.900/a")).data("URL") == b"old"
                put(primary, b"99.900/a", b"new")
                await caught_up(mirror, primary)
                assert (await resolver.resolve("99.900/a")).data("URL") == b"new"


async def test_a_primary_that_is_away(adapters: Adapters, settings: Settings) -> None:
    """The mirror answers from what it has, says so, and goes on when the primary is back."""
    store = MemoryStore("fold-all")
    async with primary_node(adapters, store=store) as primary:
        put(primary, b"99.900/a", b"x")
        where = replace_ports(primary)
        mirror_context = mirror_node(adapters, settings(tcp(primary)))
        mirror = await mirror_context.__aenter__()
        await caught_up(mirror, primary)
        assert mirror.readiness() == []
    try:
        await reaches(mirror, MirrorState.UNREACHABLE)
        async with Resolver(tcp(mirror), adapters=adapters) as resolver:
            assert (await resolver.resolve("99.900/a")).data("URL") == b"x"
        async with primary_node(adapters, store=store, listen=where) as primary:
            put(primary, b"99.900/b", b"y")
            await caught_up(mirror, primary)
    finally:
        await mirror_context.__aexit__(None, None, None)


async def test_readiness_tells_of_a_mirror_that_is_behind(adapters: Adapters, settings: Settings) -> None:
    async with mirror_node(adapters, settings("127.0.0.1:1")) as mirror:
        await reaches(mirror, MirrorState.UNREACHABLE)
        assert "not caught up" in mirror.readiness()[0]
    async with (
        primary_node(adapters) as primary,
        mirror_node(adapters, settings(tcp(primary), stale_after_s=1e-9)) as mirror,
    ):
        await caught_up(mirror, primary)
        assert "proved nothing" in mirror.readiness()[0]


@pytest.mark.parametrize("when", ["dump", "wait"])
async def test_a_journal_cut_below_the_mirror(adapters: Adapters, settings: Settings, when: str) -> None:
    """By settings a dump is taken, or a person is waited for, who then says so."""
    held = MemoryStore("fold-all")
    async with primary_node(adapters) as primary:
        async with mirror_node(adapters, settings(tcp(primary)), store=held) as mirror:
            await caught_up(mirror, primary)
        for number in range(30):
            put(primary, f"99.900/{number}".encode(), b"x")
        primary.store.cut_feed(b"99.900", 0, primary.store.head(b"99.900", 0).serial).result(30)
        async with mirror_node(adapters, settings(tcp(primary), when_cut=when), store=held) as mirror:
            assert mirror.mirror is not None
            if when == "wait":
                await reaches(mirror, MirrorState.CUT)
                mirror.mirror.redump()
            await caught_up(mirror, primary)
            assert mirror.mirror.status.dumps == 1


async def test_a_dump_that_breaks_off_is_resumed(
    adapters: Adapters, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection breaks in the middle, again and again; nothing that came is asked for twice."""
    monkeypatch.setattr(dump_taking, "WINDOW_RECORDS", 50)
    async with primary_node(adapters) as primary:
        for number in range(5_000):
            put(primary, f"99.900/{number:05}".encode(), b"x" * 100)
        cut = Cutter(primary, after_octets=120_000)
        async with cut as where, mirror_node(adapters, settings(where, interval_s=0.01)) as mirror:
            assert mirror.mirror is not None
            await reaches(mirror, MirrorState.CAUGHT_UP)
            assert store_digest(mirror.store) == store_digest(primary.store)
            status = mirror.mirror.status
            assert cut.connections > 5
            assert status.dumps == 1
            whole = store_digest(primary.store)[0]
            assert whole <= status.dumped_records <= whole + 50 * cut.connections


async def test_servers_of_a_mirror_site_share_the_handles(adapters: Adapters, settings: Settings) -> None:
    async with primary_node(adapters) as primary:
        for number in range(100):
            put(primary, f"99.900/{number}".encode(), b"x")
        held = 0
        for position in range(2):
            section = settings(tcp(primary), servers=2, position=position)
            async with mirror_node(adapters, section) as mirror:
                await caught_up(mirror, primary, Receiver(2, 2, position))
                put(primary, f"99.900/more-{position}".encode(), b"x")
                await caught_up(mirror, primary, Receiver(2, 2, position))
                held += store_digest(mirror.store)[0] - len(primary.registry.homed_prefixes())
        assert held >= store_digest(primary.store)[0] - len(primary.registry.homed_prefixes()) - 2


async def test_a_store_that_was_no_mirrors_is_not_emptied(adapters: Adapters, settings: Settings) -> None:
    store = MemoryStore("fold-all")
    async with primary_node(adapters, store=store) as primary:
        before = store_digest(store)
        with pytest.raises(NoMirror, match="removes"):
            Node(
                NodeConfig(name="m", listen=LISTEN, mirror=settings(tcp(primary))), adapters, MIRROR_SIGNER, store=store
            )
        assert store_digest(store) == before


@pytest.mark.parametrize(
    "fields", [{"primary_keys": ("bm9uc2Vuc2U=",)}, {"primary_keys": ("?",)}, {"secret_file": None}]
)
async def test_settings_that_cannot_work(adapters: Adapters, settings: Settings, fields: dict[str, Any]) -> None:
    config = NodeConfig(name="m", listen=LISTEN, mirror=settings("127.0.0.1:1", **fields))
    with pytest.raises(ValueError, match="mirror"):
        Node(config, adapters, MIRROR_SIGNER)


async def test_a_mirror_becomes_primary(adapters: Adapters, settings: Settings, tmp_path: Path) -> None:
    """Without the section the same store is a primary's: a person's decision when the primary is lost."""
    async with primary_node(adapters) as primary:
        put(primary, b"99.900/a", b"x")
        async with mirror_node(adapters, settings(tcp(primary)), folder=tmp_path / "store") as mirror:
            await caught_up(mirror, primary)
    config = NodeConfig(name="mirror", listen=LISTEN, store=StoreConfig(folder=tmp_path / "store"))
    async with Node(config, adapters, MIRROR_SIGNER) as promoted:
        put(promoted, b"99.900/b", b"y")
        assert promoted.site.is_primary


async def test_the_status_is_told_to_the_operator(adapters: Adapters, settings: Settings) -> None:
    """At /admin/replication, on loopback: what a primary sends, what a mirror takes."""
    async with (
        primary_node(adapters) as primary,
        mirror_node(adapters, settings(tcp(primary))) as mirror,
        aiohttp.ClientSession() as session,
    ):
        await caught_up(mirror, primary)
        told = []
        for node in (primary, mirror):
            async with session.get(f"http://{node.http_addresses[0]}/admin/replication") as answer:
                told.append(await answer.json())
        assert (told[0]["primary"], told[0]["mirror"]) == (True, None)
        status = told[1]["mirror"]
        assert (status["state"], status["reason"], status["has_caught_up"]) == ("caught up", "", True)


async def test_many_prefixes_are_asked_for_range_by_range(
    adapters: Adapters, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a request nor a manifest holds all queues; new prefixes appear in whichever range they belong to."""
    monkeypatch.setattr(journal_feed, "QUEUES_PER_MANIFEST_MAX", 4)
    monkeypatch.setattr(dump, "QUEUES_PER_MANIFEST_MAX", 4)
    monkeypatch.setattr(mirror_task, "QUEUES_PER_REQUEST_MAX", 3)
    async with primary_node(adapters) as primary:
        for number in range(10, 21):
            home_and_put(primary, number)
        async with mirror_node(adapters, settings(tcp(primary))) as mirror:
            await caught_up(mirror, primary)
            for number in (15, *range(5, 10), *range(21, 30)):
                home_and_put(primary, number)
            await caught_up(mirror, primary)
            assert mirror.mirror is not None
            assert mirror.mirror.status.dumps == 1
            assert len(mirror.mirror.positions.queues) > 20


async def test_news_that_are_too_large_are_asked_for_in_smaller_pieces(
    adapters: Adapters, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with primary_node(adapters) as primary, mirror_node(adapters, settings(tcp(primary))) as mirror:
        await caught_up(mirror, primary)
        for number in range(40):
            put(primary, f"99.900/{number}".encode(), b"x" * 3_000)
        monkeypatch.setattr(JournalCheck.__init__, "__kwdefaults__", {"spool_octets_max": 20_000})
        await caught_up(mirror, primary)
        assert mirror.mirror is not None
        assert mirror.mirror.status.dumps == 1


async def test_streams_are_bounded(adapters: Adapters, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes when all places are taken is told so, and comes again."""
    async with primary_node(adapters) as primary:
        monkeypatch.setattr(serving, "STREAMS_MAX", 0)
        async with mirror_node(adapters, settings(tcp(primary))) as mirror:
            await reaches(mirror, MirrorState.UNREACHABLE)
            assert mirror.mirror is not None
            assert "code 3" in mirror.mirror.status.reason
            monkeypatch.setattr(serving, "STREAMS_MAX", 1)
            await caught_up(mirror, primary)


async def test_streams_do_not_travel_by_udp(adapters: Adapters) -> None:
    listen = LISTEN.model_copy(update={"udp_admin": True})
    async with (
        primary_node(adapters, listen=listen) as primary,
        Resolver(str(primary.udp_addresses[0]), adapters=adapters) as resolver,
    ):
        request = resolver.request(OpCode.DUMP_HANDLES, DumpRequest(2, 1, 0))
        with pytest.raises(NoAnswer, match="streams do not travel by UDP"):
            await resolver.ask(request, ("udp",))
