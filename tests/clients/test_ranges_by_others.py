"""Members of ranges as others' clients meet them: the reference's library by every transport, pyhandle by REST."""

from __future__ import annotations

import asyncio
import hashlib

import pytest
from pyhandle.client.resthandleclient import RESTHandleClient

from idnode.client.rest import RestClient
from idnode_protocol.handle import from_text
from idnode_protocol.json_form import value_to_json
from idnode_protocol.value import HandleValue
from idnode_protocol.values.admin import AdminRecord
from idnode_registry.ranges.names import parse_range
from tests.clients.java_cells import admin_value, text_value
from tests.clients.java_client import JavaClient
from tests.clients.node_process import RunningNode

pytestmark = [pytest.mark.serial, pytest.mark.timeout(600)]


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def register(node: RunningNode, text: str) -> None:
    """A range that the node's administrator owns."""
    admin = from_text(str(node.admin["handle"]))
    values = (
        HandleValue(1, "URL", b"https://example.org/${serial}"),
        HandleValue(3, "DESC", b"only administrators read this of ${suffix}", permissions=0x0C),
        HandleValue(100, "HS_ADMIN", AdminRecord(0xFFF, admin, 0).to_octets()),
    )

    async def main() -> None:
        identity, secret = (admin, int(node.admin["index"])), str(node.admin["secret"]).encode()
        async with RestClient(node.http, identity, secret=secret) as client:
            body = {"values": [value_to_json(value) for value in values]}
            await client.call("PUT", "/api/ranges", parse_range(from_text(text)).name, body=body)

    asyncio.run(main())


@pytest.mark.parametrize("session", ["off", "on"])
@pytest.mark.parametrize("transport", ["udp", "tcp", "http"])
def test_the_reference_reads_changes_and_deletes_members(
    java: JavaClient, running_node: RunningNode, transport: str, session: str
) -> None:
    head = f"99.900/Java-{transport}-{session}-"
    register(running_node, f"{head}{{000-999}}")
    name = f"{head}042"
    how = {"transport": transport, "via": "resolver", "session": session}

    def read(asked: str, credential: str = "none", **more: object) -> dict[int, str]:
        answer = java.ask(op="resolve", handle=asked, **{**how, "session": "off"}, credential=credential, **more)
        assert answer.ok, answer.detail
        return {value["index"]: value["sha256"] for value in answer.values}

    assert read(name)[1] == digest("https://example.org/042")
    assert read(name.lower())[1] == digest("https://example.org/042")
    assert sorted(read(name)) == [1, 100]
    secret = read(name, "secret", restricted=True, indexes=[3])
    assert secret[3] == digest(f"only administrators read this of {name.removeprefix('99.900/')}")
    admin = str(running_node.admin["handle"])
    taken = java.ask(op="create", handle=name, values=[admin_value(admin)], **how, credential="secret")
    assert taken.code == 101
    changed = [text_value(1, "URL", "https://example.org/changed")]
    assert java.ask(op="modify", handle=name, values=changed, **how, credential="secret").ok
    assert read(name)[1] == digest("https://example.org/changed")
    assert read(f"{head}043")[1] == digest("https://example.org/043")
    added = [text_value(5, "DESC", "added")]
    assert java.ask(op="add", handle=f"{head}044", values=added, **how, credential="rsa").ok
    assert read(f"{head}044")[5] == digest("added")
    for member in (name, f"{head}045"):
        assert java.ask(op="delete", handle=member, **how, credential="secret").ok
        assert java.ask(op="resolve", handle=member, **{**how, "session": "off"}, credential="none").code == 100
    assert java.ask(op="create", handle=name, values=[admin_value(admin)], **how, credential="secret").ok
    assert sorted(read(name)) == [100]


def test_pyhandle_reads_changes_and_deletes_members(running_node: RunningNode) -> None:
    register(running_node, "99.900/PYH{000-999}")
    user = f"{running_node.admin['index']}:{running_node.admin['handle']}"
    client = RESTHandleClient.instantiate_with_username_and_password(
        running_node.http, user, str(running_node.admin["secret"]), handleowner=user
    )
    name = "99.900/PYH007"
    assert client.get_value_from_handle(name, "URL") == "https://example.org/007"
    client.modify_handle_value(name, URL="https://example.org/changed")
    assert client.get_value_from_handle(name, "URL") == "https://example.org/changed"
    assert client.get_value_from_handle("99.900/PYH008", "URL") == "https://example.org/008"
    client.delete_handle(name)
    assert client.retrieve_handle_record_json(name) is None
    assert client.register_handle(name, location="https://example.org/again") == name
    assert client.get_value_from_handle(name, "URL") == "https://example.org/again"
