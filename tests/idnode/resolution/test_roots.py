"""The root changes, sites have several servers, referrals of every kind: scripted servers on the simulated network."""

from __future__ import annotations

from dataclasses import replace

import pytest

from idnode.adapters import SimulatedAdapters, run_simulated
from idnode.client.errors import ValuesNotFound
from idnode.client.resolver import Resolver
from idnode.resolution.engine import Resolution
from idnode.resolution.question import Question
from idnode.resolution.roots import Roots
from idnode.resolution.sites import Health, doors, with_alternatives
from idnode.trust.verification import RecordNotTrusted, trust_of
from idnode_protocol.codes import OpFlag
from idnode_protocol.digest import RequestDigest
from idnode_protocol.message import Message, build, decode_message
from idnode_protocol.responses import ReferralResponse, encode_response
from idnode_protocol.site_hash import server_position
from idnode_protocol.value import HandleValue
from idnode_protocol.values.address import NO_ADDRESS, address_from_text
from idnode_protocol.values.site import Interface, InterfaceProtocol, Server, SiteInfo
from tests.idnode.resolution.graphs import PORT, Graph, GraphServer, Records, serve, site_at
from tests.idnode.resolution.tree import SIGNER, growing

OLD, NEW, HOLDER = "198.51.100.1", "198.51.100.9", "198.51.100.2"
ROOT = b"0.NA/0.NA"
PART = b"99.1/part-0"


def value_of(site: SiteInfo, kind: str = "HS_SITE", index: int = 1) -> HandleValue:
    return HandleValue(index, kind, site.to_octets())


class Root(GraphServer):
    """A root whose answers carry a site serial, or code 300 while it is asked with an old one."""

    def __init__(self, adapters: SimulatedAdapters, records: Records, serial: int, code: int | None) -> None:
        super().__init__(adapters, OLD, records)
        self.serial, self.code = serial, code
        self.asked: list[Message] = []

    def respond(self, octets: bytes) -> bytes:
        asked = decode_message(octets)
        self.asked.append(asked)
        answer = decode_message(super().respond(octets))
        code = answer.header.response_code
        is_about_root = ROOT in asked.body
        if self.code is not None and asked.header.site_serial < self.serial and not is_about_root:
            code = self.code
        return replace(answer, header=replace(answer.header, site_serial=self.serial, response_code=code)).to_octets()


@pytest.mark.parametrize("how", ["code 300", "serial", "age"])
def test_root_information_is_reloaded(how: str) -> None:
    """RC 300, a higher serial in an answer of the root, or information older than 23 hours."""

    async def main(adapters: SimulatedAdapters) -> None:
        now_site = replace(site_at(OLD), serial=7)
        graph = Graph(OLD, {OLD: {ROOT: (value_of(now_site),), b"0.NA/99.1": (value_of(site_at(HOLDER)),)}})
        graph.records[HOLDER] = {PART: (HandleValue(1, "URL", b"u"),)}
        serial = {"code 300": 7, "serial": 7, "age": 1}[how]
        root = Root(adapters, graph.records[OLD], serial, 300 if how == "code 300" else None)
        holder = GraphServer(adapters, HOLDER, graph.records[HOLDER])
        updated = adapters.clock.now() - (24 if how == "age" else 1) * 3_600
        resolution = Resolution(adapters, Roots((site_at(OLD),), updated_at=updated))
        assert (await resolution.resolve(Question(PART))).is_success
        assert resolution.roots.sites == (now_site,)
        assert resolution.roots.updated_at == pytest.approx(adapters.clock.now(), abs=1)
        about_root = [asked for asked in root.asked if ROOT in asked.body]
        assert len(about_root) == 1
        assert about_root[0].header.has(OpFlag.CT), "root information is asked for signed"
        for number in range(5):
            await resolution.resolve(Question(b"99.2/part-%d" % number))
        assert len([asked for asked in root.asked if ROOT in asked.body]) == 1, "at most once a minute"
        assert holder.sent == 1
        await resolution.close()

    run_simulated(main, seed=1)


def test_a_site_of_several_servers_is_asked_where_the_name_hashes_to() -> None:
    async def main(adapters: SimulatedAdapters) -> None:
        addresses = [f"198.51.100.{20 + number}" for number in range(3)]
        one = site_at(OLD).servers[0]
        site = replace(
            site_at(OLD),
            servers=tuple(replace(one, server_id=n + 1, address=address_from_text(a)) for n, a in enumerate(addresses)),
        )
        records: Records = {b"99.1/part-%d" % n: (HandleValue(1, "URL", b"u"),) for n in range(60)}
        graph = Graph(OLD, {OLD: {b"0.NA/99.1": (value_of(site),)}, **{address: {} for address in addresses}})
        for name, values in records.items():
            graph.records[addresses[server_position(name, site.hash_option, 3)]][name] = values
        await serve(graph, adapters)
        resolution = Resolution(adapters, graph.roots)
        for name in records:
            assert (await resolution.resolve(Question(name))).is_success, name
        await resolution.close()

    run_simulated(main, seed=1)


@pytest.mark.parametrize("kind", ["HS_SITE.PREFIX", "HS_NA_DELEGATE", "HS_SERV.PREFIX"])
def test_each_way_to_delegate_derived_prefixes(kind: str) -> None:
    async def main(adapters: SimulatedAdapters) -> None:
        root: Records = {b"0.NA/98": (value_of(site_at(HOLDER)),)}
        said = value_of(site_at(HOLDER), kind) if "SERV" not in kind else HandleValue(1, kind, b"98/service")
        root[b"0.NA/99"] = (said,)
        held: Records = {
            b"98/service": (value_of(site_at(HOLDER)),),
            b"0.NA/99.5": (value_of(site_at(NEW)),),
        }
        graph = Graph(OLD, {OLD: root, HOLDER: held, NEW: {b"99.5/x": (HandleValue(1, "URL", b"u"),)}})
        await serve(graph, adapters)
        resolution = Resolution(adapters, graph.roots)
        assert (await resolution.resolve(Question(b"99.5/x"))).values[0].data == b"u"
        assert (await resolution.resolve(Question(b"99.5"))).values[0].type == "HS_SITE"
        await resolution.close()

    run_simulated(main, seed=1)


def test_a_service_referral_is_followed_for_every_name() -> None:
    """Code 302, which the reference understands and never sends."""

    class Referring(GraphServer):
        def respond(self, octets: bytes) -> bytes:
            asked = decode_message(octets)
            body = ReferralResponse(b"", (value_of(site_at(NEW)),))
            digest = RequestDigest.of(asked.envelope.answered_version, asked.header_and_body)
            answer = decode_message(super().respond(octets))
            header = replace(answer.header, response_code=302)
            return build(answer.envelope, header, encode_response(body, digest)).to_octets()

    async def main(adapters: SimulatedAdapters) -> None:
        records: dict[str, Records] = {
            OLD: {b"0.NA/99.1": (value_of(site_at(HOLDER)),)},
            NEW: {PART: (HandleValue(1, "URL", b"u"),)},
        }
        graph = Graph(OLD, records)
        await serve(graph, adapters)
        referring = Referring(adapters, HOLDER, {})
        resolution = Resolution(adapters, graph.roots)
        assert (await resolution.resolve(Question(PART))).values[0].data == b"u"
        assert referring.sent == 1
        await resolution.close()

    run_simulated(main, seed=1)


def test_local_configuration_replaces_the_root() -> None:
    """A prefix with local sites is asked there; nobody is asked where it lives."""

    async def main(adapters: SimulatedAdapters) -> None:
        graph = Graph(OLD, {OLD: {}, HOLDER: {PART: (HandleValue(1, "URL", b"u"),)}})
        servers = await serve(graph, adapters)
        resolution = Resolution(adapters, Roots((site_at(OLD),), {b"0.NA/99.1": (site_at(HOLDER),)}))
        assert (await resolution.resolve(Question(PART))).is_success
        assert [server.sent for server in servers] == [0, 1]
        await resolution.close()

    run_simulated(main, seed=1)


def test_fail_over_to_the_next_site_and_to_tcp() -> None:
    """A silent server costs 1.5 s once, then it is tried last; a server without UDP is asked by TCP."""

    async def main(adapters: SimulatedAdapters) -> None:
        sites = (value_of(site_at("198.51.100.50")), value_of(site_at(HOLDER), index=2))
        graph = Graph(OLD, {OLD: {b"0.NA/99.1": sites}})
        graph.records[HOLDER] = {b"99.1/part-%d" % n: (HandleValue(1, "URL", b"u"),) for n in range(20)}
        servers = await serve(graph, adapters)
        resolution = Resolution(adapters, graph.roots)
        began = adapters.clock.monotonic()
        for number in range(20):
            assert (await resolution.resolve(Question(b"99.1/part-%d" % number))).is_success
        assert adapters.clock.monotonic() - began < 1.7
        servers[1]._sock.close()
        began = adapters.clock.monotonic()
        assert (await resolution.resolve(Question(b"99.1/part-0", flags=Question(b"x").flags | OpFlag.AT))).is_success
        assert adapters.clock.monotonic() - began < 5
        await resolution.close()

    run_simulated(main, seed=1)


def test_attributes_of_sites() -> None:
    """``domain`` for an address of zeros, ``path`` for HTTP, ``alt_addr`` as a copy; broken ones are left out."""
    interfaces = (Interface(3, 2, 8000), Interface(1, 1, PORT), Interface(3, 9, 1), Interface(3, 0, 0))
    server = Server(1, NO_ADDRESS, b"", interfaces)
    site = SiteInfo(
        1, (server,), attributes=(("domain.0", "node.example"), ("path", "/hdl"), ("alt_addr.1", "192.0.2.7"))
    )

    def found(site: SiteInfo, *, admin: bool = False) -> set[tuple[str, int, str]]:
        async def main(adapters: SimulatedAdapters) -> set[tuple[str, int, str]]:
            listed = doors(
                [site],
                PART,
                protocols=tuple(InterfaceProtocol),
                health=Health(),
                rng=adapters.rng,
                now=0.0,
                addresses_max=8,
                admin=admin,
            )
            return {(door.host, door.port, door.path) for door in listed}

        return run_simulated(main, seed=1)

    assert found(site) == {("node.example", 8000, "/hdl"), ("192.0.2.7", 8000, "/hdl")}
    assert ("192.0.2.7", PORT, "/hdl") in found(site, admin=True)
    assert found(replace(site, attributes=())) == set()
    assert found(replace(site, hash_option=7, servers=(server, server))) == set()
    assert with_alternatives(replace(site, attributes=(("alt_addr", "no address"),)))[1:] == []


def test_signatures_of_records_are_checked_when_asked_for() -> None:
    """An unsigned record is reported, and withheld where signatures are required."""

    async def main(adapters: SimulatedAdapters) -> None:
        trust = trust_of([SIGNER.public_key_octets])
        async with growing(adapters) as tree, Resolver(roots=tree.roots, adapters=adapters, trust=trust) as resolver:
            assert (await resolver.resolve("99.900/part-1")).verdict is None
            reported = await resolver.resolve("99.900/part-1", verify="report")
            assert reported.verdict is not None
            assert reported.verdict.reason
            kind = reported.values[0].type
            part = await resolver.resolve("99.900/part-1", types=[kind], verify="report")
            assert part.verdict == reported.verdict  # of the whole record: a part of it cannot be judged
            assert {value.type for value in part.values} == {kind}
            with pytest.raises(ValuesNotFound):
                await resolver.resolve("99.900/part-1", types=["NOBODYS"], verify="report")
            with pytest.raises(RecordNotTrusted):
                await resolver.resolve("99.900/part-1", verify="require")

    run_simulated(main, seed=1)
