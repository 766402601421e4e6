"""One node of three processes does what one process does, whichever of them is asked."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from idnode.adapters import real_adapters, simulated_adapters
from idnode.adapters.errors import AddressTaken
from idnode.cli.main import app
from idnode.client.administrator import Administrator
from idnode.client.resolver import Resolver
from idnode.config import ListenConfig, MirrorConfig, NodeConfig, StoreConfig
from idnode.node import Node
from idnode.replication.mirror import MirrorState
from idnode.workers.supervisor import Supervisor, WorkersRefused
from idnode_protocol.codes import OpCode, OpFlag, ResponseCode
from idnode_protocol.message import decode_message
from idnode_protocol.octets import Reader
from idnode_protocol.requests import HandleRequest, ResolutionRequest, ValuesRequest
from idnode_protocol.responses import SiteInfoResponse
from idnode_protocol.value import HandleValue
from idnode_protocol.values.site import SiteInfo
from idnode_registry.crypto import Signer
from idnode_registry.keystore import read_private_key
from tests.campaigns.lives import ADMIN, SECRET
from tests.clients.node_process import parse_counters
from tests.idnode.cli.command_line import FREE_PORTS, idnode
from tests.idnode.mirrors import key_text, mirror_node, reaches
from tests.idnode.workers.several import (
    FAST,
    SMALL,
    Datagrams,
    Several,
    Stream,
    code_of,
    first_value,
    is_alive,
    message,
    question,
    several,
    url,
)

CREATES = 200
BASIC = {"Authorization": "Basic " + base64.b64encode(f"300%3A{ADMIN.decode()}:".encode() + SECRET).decode()}
RULER = f"authentication.server_admins=300:{ADMIN.decode()}"
FREE = [part for pair in FREE_PORTS for part in ("--set", pair)]
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Several]:
    with several(tmp_path_factory.mktemp("several"), FAST, RULER, workers=2) as running:
        yield running


def body(text: str) -> bytes:
    admin = {"handle": ADMIN.decode(), "index": 300, "permissions": "011111110011"}
    values = [
        {"index": 1, "type": "URL", "data": text},
        {"index": 100, "type": "HS_ADMIN", "data": {"format": "admin", "value": admin}},
    ]
    return json.dumps(values).encode()


@pytest.mark.parametrize("session", [False, True])
async def test_challenges_are_answered_on_new_connections(node: Several, session: bool) -> None:
    """Each message has a connection of its own: the answer to a challenge meets any of the processes."""
    adapters = real_adapters()
    names = [f"99.901/challenged-{session}-{number}" for number in range(CREATES // (1 if session else 2))]
    async with Resolver(node.serving.address("tcp"), adapters=adapters) as resolver:
        who = Administrator(resolver, ADMIN.decode(), 300, secret=SECRET, transports=("tcp",), session=session)
        async with who:
            for name in names:
                await who.create(name, [url(name), who.admin_value()])
        for name in names:
            assert (await resolver.resolve(name)).values[0].data == name.encode()
        async with Administrator(resolver, ADMIN.decode(), 300, secret=SECRET) as again:
            listed = [name async for name in again.list("0.NA/99.901")]
            assert {name.upper() for name in names} <= {name.upper() for name in listed}
    adapters.close()


def test_every_resolver_answers_and_hears_of_changes(node: Several) -> None:
    with Datagrams(node.native, 16) as asked:
        for text in ("one", "two"):
            put = node.http("/api/handles/99.901/changing", method="PUT", body=body(text), headers=JSON | BASIC)
            assert put[0] in (200, 201)
            for place in range(16):
                for number in (1, 2):
                    assert first_value(asked.ask(place, question("99.901/changing", number))) == text.encode()
        assert node.http("/api/handles/99.901/changing", method="DELETE", headers=BASIC)[0] == 200
        for place in range(16):
            assert code_of(asked.ask(place, question("99.901/changing"))) == ResponseCode.HANDLE_NOT_FOUND


async def test_a_prefix_that_is_homed_later_is_known_everywhere(node: Several) -> None:
    adapters = real_adapters()
    with Datagrams(node.native, 16) as asked:
        resolver = Resolver(node.serving.address("tcp"), adapters=adapters)
        async with resolver, Administrator(resolver, ADMIN.decode(), 300, secret=SECRET) as who:
            for do, code in (
                (who.unhome, ResponseCode.SERVER_NOT_RESPONSIBLE),
                (who.home, ResponseCode.HANDLE_NOT_FOUND),
                (who.unhome, ResponseCode.SERVER_NOT_RESPONSIBLE),
            ):
                await do("99.907")
                for place in range(16):
                    assert code_of(asked.ask(place, question("99.907/x"))) == code
    adapters.close()


def test_ranges_and_what_is_put_over_them_are_known_everywhere(node: Several) -> None:
    values = b'{"values": %b}' % body("https://example.org/${serial}")
    range_path = "/api/ranges/99.901/RANGED{001-100}".replace("{", "%7B").replace("}", "%7D")
    with Datagrams(node.native, 16) as asked:

        def answers(expected: int | bytes) -> None:
            for place in range(16):
                answer = asked.ask(place, question("99.901/ranged007", place + 1))
                assert (first_value(answer) if isinstance(expected, bytes) else code_of(answer)) == expected

        answers(int(ResponseCode.HANDLE_NOT_FOUND))
        made = node.http(range_path, method="PUT", body=values, headers=JSON | BASIC)
        assert made[0] == 201, made
        answers(b"https://example.org/007")
        member = "/api/handles/99.901/RANGED007"
        assert node.http(member, method="PUT", body=body("its own"), headers=JSON | BASIC)[0] in (200, 201)
        answers(b"its own")
        assert node.http(member, method="DELETE", headers=BASIC)[0] == 200
        answers(int(ResponseCode.HANDLE_NOT_FOUND))


async def test_a_namespace_that_is_written_later_makes_names_everywhere(node: Several) -> None:
    """What a prefix handle says about names under it is remembered by nobody beyond its change."""
    namespace = b"<n><template delimiter='@'><value type='URL' data='made'/></template></n>"
    adapters = real_adapters()
    resolver = Resolver(node.serving.address("tcp"), adapters=adapters)
    with Datagrams(node.native, 16) as asked:

        def codes() -> set[int]:
            return {code_of(asked.ask(place, question("99.901/base@7", place + 1))) for place in range(16)}

        async with resolver, Administrator(resolver, ADMIN.decode(), 300, secret=SECRET) as who:
            await who.create("99.901/base", [url("x"), who.admin_value()])
            for _ in range(2):
                assert codes() == {ResponseCode.HANDLE_NOT_FOUND}
                await who.add("0.NA/99.901", [HandleValue(50, "HS_NAMESPACE", namespace)])
                assert codes() == {ResponseCode.SUCCESS}
                await who.remove("0.NA/99.901", [50])
    adapters.close()


def test_http_is_the_same_from_every_process(node: Several) -> None:
    put = node.http("/api/handles/99.901/web", method="PUT", body=body("https://example.org/"), headers=JSON | BASIC)
    assert (put[0], json.loads(put[2])["responseCode"]) == (201, 1)
    for _ in range(8):
        status, headers, octets = node.http("/api/handles/99.901/web", headers={"Accept-Encoding": "gzip"})
        assert (status, headers["content-encoding"]) == (200, "gzip")
        status, _, octets = node.http("/api/handles/99.901/web", headers=BASIC)
        assert json.loads(octets)["values"][0]["data"]["value"] == "https://example.org/"
    assert node.http("/api/handles/99.901/web?publicOnly=false", headers=BASIC)[0] == 200
    head = node.http("/api/handles/99.901/web", method="HEAD", headers=BASIC)
    assert (head[0], head[2]) == (200, b"")
    assert int(head[1]["content-length"]) > 100
    refused = node.http("/api/handles/99.901/web", method="PUT", body=body("x"), headers=JSON)
    assert refused[0] == 401
    assert refused[1]["www-authenticate"].startswith('Basic realm="handle", Handle sessionId=')
    assert node.http("/api/handles/99.901/web", method="PUT", body=b"{", headers=JSON | BASIC)[0] == 400
    assert node.http("/api/site")[0] == 200
    assert b"example.org" in node.http("/99.901/web?noredirect", headers={"Accept": "text/html"})[2]
    listed = node.http("/api/handles?prefix=99.901&page=0&pageSize=1", headers=BASIC)
    assert (listed[0], len(json.loads(listed[2])["handles"])) == (200, 1)


def test_site_information_and_private_values(node: Several) -> None:
    with Stream(node.native) as stream:
        answer = stream.ask(message(OpCode.GET_SITE_INFO, HandleRequest(b"99.901/x")))
        site = SiteInfo.from_octets(SiteInfoResponse.decode(Reader(decode_message(answer).body)).site)
        assert {each.port for each in site.servers[0].interfaces} >= {node.native[1]}
        private = message(OpCode.RESOLUTION, ResolutionRequest(ADMIN, (300,)), without=OpFlag.PO)
        assert code_of(stream.ask(private)) == ResponseCode.AUTHENTICATION_NEEDED
        certified = stream.ask(question(ADMIN.decode(), 7, int(OpFlag.CT)))
        assert decode_message(certified).credential is not None


def test_what_cannot_be_read_is_refused_as_elsewhere(node: Several) -> None:
    create = message(OpCode.CREATE_HANDLE, ValuesRequest(b"99.901/by-udp", (url("x"),)))
    with Datagrams(node.native, 1) as asked:
        assert code_of(asked.ask(0, create)) == ResponseCode.PROTOCOL_ERROR  # administration is not for UDP
        broken = create[:40] + b"\0\0\xff\xff" + create[44:]
        assert code_of(asked.ask(0, broken)) == ResponseCode.PROTOCOL_ERROR
    with Stream(node.native) as stream:
        session = create[:4] + b"\0\0\0\7" + create[8:]
        assert code_of(stream.ask(session)) == ResponseCode.AUTHENTICATION_NEEDED


def test_counters_are_those_of_the_whole_node(node: Several) -> None:
    asked_before = _counted(node)
    with Datagrams(node.native, 24) as asked:
        for place in range(24):
            asked.ask(place, question(SMALL))
    assert all(_counted(node) - asked_before == 24 for _ in range(8)), "whichever process tells"
    assert parse_counters(node.http("/metrics")[2].decode()).values["hdl_processes", ()] == 3


def _counted(node: Several) -> float:
    found = parse_counters(node.http("/metrics")[2].decode()).values
    return found.get(("hdl_requests_total", (("code", "1"), ("op", "1"), ("transport", "udp"))), 0.0)


def test_it_is_ready_as_a_whole(node: Several) -> None:
    assert node.readiness() == []
    assert node.http("/livez")[0] == node.http("/startupz")[0] == 200
    assert json.loads(node.http("/admin/replication")[2])["primary"] is True


def test_what_does_not_go_together_is_refused(tmp_path: Path) -> None:
    without = CliRunner().invoke(app, ["serve", "--workers", "2", "--set", f"key_file={tmp_path / 'key'}"])
    assert (without.exit_code, without.stdout) == (2, "")
    assert without.stderr == "idnode: workers share a store on disk: set store.folder, or workers = 1\n"
    none = CliRunner().invoke(app, ["serve", "--workers", "0", "--check-config"])
    assert re.search(r"workers: expected a whole number, 1 to 64, not '0'", none.stderr)
    with pytest.raises(ValueError, match="workers is 2, but a node inside a program is one process"):
        Node(NodeConfig(workers=2), simulated_adapters(1), Signer.generate())
    rocks = StoreConfig(folder=tmp_path, engine="rocksdb")
    with pytest.raises(WorkersRefused, match="the engine rocksdb belongs to one process"):
        Supervisor(NodeConfig(workers=2, store=rocks), simulated_adapters(1), tmp_path / "key")
    with pytest.raises(WorkersRefused, match="a virtual clock belongs to one process"):
        Supervisor(NodeConfig(workers=2, store=StoreConfig(folder=tmp_path)), simulated_adapters(1), tmp_path / "key")


def test_it_stops_as_a_whole(tmp_path: Path) -> None:
    with several(tmp_path, FAST, workers=2) as running:
        pids = running.pids()
        second = idnode("serve", "--set", f"store.folder={tmp_path / 'node' / 'store'}", "--workers", "2", *FREE)
        assert (second.code, second.out) == (5, "")
        assert "is in use by another process" in second.err
    events = [each["event"] for each in running.serving.log]
    assert events == ["start", *["process"] * 3, *["listen"] * 3, "stop"]
    assert len(pids) == 3
    assert not any(map(is_alive, pids.values()))


@pytest.mark.parametrize("way", ["tcp", "https"])
async def test_a_mirror_takes_everything_through_a_resolver(node: Several, tmp_path: Path, way: str) -> None:
    """Challenge, signed manifest, dump and journal, TLS in the middle of a connection: all of it is passed on."""
    for number in range(20):
        path = f"/api/handles/99.901/mirrored-{way}-{number}"
        assert node.http(path, method="PUT", body=body("x" * 30_000), headers=JSON | BASIC)[0] == 201
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET)
    secret.chmod(0o600)
    key = read_private_key((node.serving.log_file.parent / "server.key").read_bytes())
    section = MirrorConfig(
        primary=node.serving.address("tcp") if way == "tcp" else f"https://{node.serving.address('http')}",
        primary_keys=(key_text(key),),
        administrator=f"300:{ADMIN.decode()}",
        secret_file=secret,
    )
    adapters = real_adapters()
    async with mirror_node(adapters, section) as mirror:
        await reaches(mirror, MirrorState.CAUGHT_UP)
        for number in range(20):
            assert mirror.registry.record(b"99.901/mirrored-%s-%d" % (way.encode(), number)) is not None
        taken = mirror.registry.count(b"99.901")
    adapters.close()
    assert taken >= 20


async def test_ports_that_others_have_are_not_shared_with_them(tmp_path: Path, node: Several) -> None:
    """Processes of one node share; two nodes of one user must not, or each would get half of the other's questions."""
    adapters = real_adapters()
    for name in ("udp_port", "tcp_port"):
        listen = ListenConfig(addresses=("127.0.0.1",), udp_port=0, tcp_port=0, http_port=0)
        config = NodeConfig(
            workers=2,
            listen=listen.model_copy(update={name: node.native[1]}),
            store=StoreConfig(folder=tmp_path / "store"),
        )
        with pytest.raises(AddressTaken, match="somebody listens there already"):
            async with Supervisor(config, adapters, tmp_path / "key"):
                raise AssertionError("it started")
    adapters.close()
