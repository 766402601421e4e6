"""The reference's Java client creates handles at a node of several processes: challenge and answer meet any of them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from idnode.adapters.disk import RealDisk
from idnode.client_config import ClientConfig, client_config_files
from idnode_protocol.codes import OpCode
from idnode_protocol.message import decode_message
from idnode_protocol.octets import Reader
from idnode_protocol.requests import HandleRequest
from idnode_protocol.responses import SiteInfoResponse
from idnode_protocol.values.site import SiteInfo
from idnode_registry.keystore import read_private_key
from tests.campaigns.lives import ADMIN, SECRET
from tests.campaigns.results import RESULTS, Result
from tests.clients.java_cells import text_value
from tests.clients.java_client import started_client
from tests.clients.node_process import parse_counters
from tests.idnode.workers.several import Datagrams, Several, Stream, code_of, message, question, several

CREATES = {"test": 200, "prove": 10_000}
WORKERS = 4

pytestmark = [pytest.mark.serial, pytest.mark.grows, pytest.mark.timeout(0)]


def write_config(node: Several, folder: Path) -> None:
    """What the client has to know: the site, and the administrator's keys."""
    with Stream(node.native) as stream:
        answer = stream.ask(message(OpCode.GET_SITE_INFO, HandleRequest(b"99.901/x")))
    site = SiteInfo.from_octets(SiteInfoResponse.decode(Reader(decode_message(answer).body)).site)
    signer = read_private_key((node.serving.log_file.parent / "server.key").read_bytes())
    config = ClientConfig(
        site=site,
        prefixes=["99.900", "99.901"],
        server_public_key=signer.public_key_octets,
        updated_ms=int(time.time() * 1_000),
        admin_handle=ADMIN.decode(),
        admin_secret=SECRET.decode(),
        admin_secret_index=300,
        admin_private_key=signer.private_octets(),
        admin_public_key=signer.public_key_octets,
        admin_key_index=301,
    )
    folder.mkdir()
    for name, (octets, mode) in client_config_files(config).items():
        RealDisk().write_atomic(folder / name, octets, mode)


def test_challenged_creates_all_succeed(java_class_path: str, tmp_path: Path, seed: int, campaign: str) -> None:
    """Without sessions each request is challenged by itself, and each message opens a connection of its own."""
    result = Result(RESULTS if campaign == "prove" else None, seed)
    wanted = CREATES.get(campaign, CREATES["test"])
    with several(tmp_path, workers=WORKERS) as node:
        write_config(node, tmp_path / "config")
        failed: list[str] = []
        challenged = 0
        with started_client(java_class_path, tmp_path / "config", tmp_path / "stderr") as java:
            for number in range(wanted):
                name = f"99.901/java-{number}"
                credential = ("secret", "rsa")[number % 16 == 0]
                answer = java.ask(
                    op="create",
                    transport="tcp",
                    credential=credential,
                    handle=name,
                    values=[text_value(1, "URL", name), text_value(2, "DESC", "made by the reference's client")],
                )
                challenged += answer.ok
                if answer.code != 1:
                    failed.append(f"{name}: {answer}")
        with Datagrams(node.native, 16) as asked:
            absent = [n for n in range(wanted) if code_of(asked.ask(n % 16, question(f"99.901/java-{n}", n + 1))) != 1]
        counters = node.http("/metrics")[2].decode()
    proofs = [line for line in counters.splitlines() if line.startswith("hdl_auth_total")]
    connections = sum(
        value for (name, _), value in parse_counters(counters).values.items() if name == "hdl_tcp_closed_total"
    )
    connections = sum(
        value for (name, _), value in parse_counters(counters).values.items() if name == "hdl_tcp_closed_total"
    )
    print(f"{wanted} challenged creates, {len(failed)} failed, {len(absent)} absent afterwards; {proofs}")
    result.write("workers-java", creates=wanted, workers=WORKERS, failed=failed[:20], absent=absent[:20], proofs=proofs)
    assert failed == []
    assert connections >= 2 * wanted, "the answers to challenges came on the same connections"
    assert absent == []
    assert any('method="seckey",result="ok"' in line for line in proofs)
