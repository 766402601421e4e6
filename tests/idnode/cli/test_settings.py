"""Where settings come from, which wins, and what somebody is told who writes one wrongly."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from idnode.adapters import SimulatedAdapters, run_simulated
from idnode.cli.configuring import as_text
from idnode.client.resolver import Resolver
from idnode.config import NodeConfig
from idnode.settings import BY_ENV, SETTINGS, SettingsWrong, load
from tests.idnode.test_virtual_time import new_session, running


def problems(
    text: str = "", environ: dict[str, str] | None = None, flags: tuple[str, ...] = (), others: tuple[str, ...] = ()
) -> list[str]:
    with pytest.raises(SettingsWrong) as wrong:
        load(("node.toml", text.encode()), environ or {}, flags, others)
    return list(wrong.value.problems)


def test_flag_over_environment_over_file_over_default() -> None:
    text = b"name = 'file'\n[listen]\nudp_port = 1\ntcp_port = 1\nhttp_port = 1\n"
    environ = {"IDNODE_LISTEN_TCP_PORT": "2", "IDNODE_LISTEN_HTTP_PORT": "2", "PATH": "x"}
    loaded = load(("node.toml", text), environ, ["listen.http_port=3"])
    listen = loaded.config.listen
    assert (listen.udp_port, listen.tcp_port, listen.http_port) == (1, 2, 3)
    assert loaded.origin("listen.udp_port") == "file node.toml"
    assert loaded.origin("listen.tcp_port") == "environment IDNODE_LISTEN_TCP_PORT"
    assert loaded.origin("listen.http_port") == "flag --set listen.http_port"
    assert loaded.origin("listen.udp_admin") == "default"


def test_without_anything_the_defaults_hold() -> None:
    assert load(None, {}, []).config == NodeConfig()


def test_one_variable_means_one_setting() -> None:
    """The single underscore is unambiguous as long as this holds; a section's name must not begin another one's."""
    assert len(BY_ENV) == len(SETTINGS)
    assert max(Counter(each.env for each in SETTINGS.values()).values()) == 1


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_takes_its_default_asas_text(name: str) -> None:
    """What ``config show`` prints can be given back, as a flag and by the environment."""
    setting = SETTINGS[name]
    text = as_text(setting.default)
    assert load(None, {}, [f"{name}={text}"]).value(name) == setting.default
    assert load(None, {setting.env: text}, []).value(name) == setting.default


@pytest.mark.parametrize(
    ("text", "value"),
    [("127.0.0.1,::1", ("127.0.0.1", "::1")), (" ::1 ", ("::1",)), ('["::1"]', ("::1",))],
)
def test_lists_are_separated_by_commas_or_toml(text: str, value: tuple[str, ...]) -> None:
    assert load(None, {"IDNODE_LISTEN_ADDRESSES": text}, []).config.listen.addresses == value


def test_none_is_written_the_same_way_everywhere() -> None:
    text = b"[listen]\nudp_port = 'none'\n"
    loaded = load(("x", text), {"IDNODE_LISTEN_TCP_PORT": "none"}, ["store.folder=none", "listen.http_port=None"])
    assert (loaded.config.listen.udp_port, loaded.config.listen.tcp_port) == (None, None)
    assert (loaded.config.listen.http_port, loaded.config.store.folder) == (None, None)
    assert load(None, {}, ["store.folder=./none"]).config.store.folder == Path("none")
    assert "expected" in problems(flags=("network.tcp_idle_s=none",))[0]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("udp_port = 1", "node.toml: udp_port: no such setting; did you mean listen.udp_port?"),
        ("[listen]\nupd_port = 1", "node.toml: listen.upd_port: no such setting; did you mean listen.udp_port?"),
        ("[store]\ncas_mode = 1", "node.toml: store.cas_mode: no such setting; did you mean store.case_mode?"),
        ("[listn]\nudp_port = 1", "node.toml: [listn]: no such section; did you mean listen?"),
        ("xyzzy = 1", "node.toml: xyzzy: no such setting; `idnode config show` lists all settings"),
        ("listen = 1", "node.toml: listen: is a section; write [listen] and its settings below it"),
        ("[name]\nx = 1", "node.toml: name: expected text, not {'x': 1}"),
        (
            "[network]\ntcp_idle_s = '3'",
            "node.toml: network.tcp_idle_s: expected a number (seconds), above 0, not '3'",
        ),
        ("[network]\ntcp_idle_s = inf", "node.toml: network.tcp_idle_s: expected a number (seconds), above 0, not inf"),
        ("[store]\nfsync = 1", "node.toml: store.fsync: expected true or false, not 1"),
        (
            "[listen]\nudp_port = 65536",
            "node.toml: listen.udp_port: expected a whole number, 0 to 65535, or none, not 65536",
        ),
        (
            "role = 'king'",
            "node.toml: role: expected one of root, top, secondary, enterprise, recursive, not 'king'",
        ),
        (
            "[authentication]\nserver_admins = ['99.900/ADMIN']",
            (
                "node.toml: authentication.server_admins: expected a list, each index:handle, such as "
                "300:99.900/ADMIN, not ['99.900/ADMIN']"
            ),
        ),
        (
            "[listen]\naddresses = ['localhost']",
            (
                "node.toml: listen.addresses: expected a list, each an IP address, such as 127.0.0.1, not "
                "['localhost']: 'localhost' does not appear to be an IPv4 or IPv6 address"
            ),
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_said(text: str, problem: str) -> None:
    assert problems(text) == [problem]


@pytest.mark.parametrize(
    ("octets", "said"),
    [
        (b"name = ", "node.toml: is not TOML: "),
        (b"name = 1\nname = 2", "node.toml: is not TOML: "),
        (b"name = '\xff'", "node.toml: is not UTF-8 text (octet 8); save it as UTF-8"),
        (b"name = 1979-05-27", "node.toml: name: expected text, not datetime.date("),
    ],
)
def test_files_that_cannot_be_read(octets: bytes, said: str) -> None:
    with pytest.raises(SettingsWrong) as wrong:
        load(("node.toml", octets), {}, [])
    assert wrong.value.problems[0].startswith(said)


def test_unknown_variables_and_flags_are_errors_with_a_suggestion() -> None:
    environ = {"IDNODE_LISTEN_UDP_PROT": "1", "IDNODE_SERVER": "x", "IDNODE_SERVR": "x", "OTHER": "1"}
    assert problems(environ=environ, flags=("listen.udp_prt=1", "name"), others=("IDNODE_SERVER",)) == [
        "environment: IDNODE_LISTEN_UDP_PROT: no such setting; did you mean IDNODE_LISTEN_UDP_PORT?",
        "environment: IDNODE_SERVR: no such setting; did you mean IDNODE_SERVER?",
        "--set listen.udp_prt: no such setting; did you mean listen.udp_port?",
        "--set name: write name=value, for example --set listen.udp_port=2642",
    ]


def test_all_problems_are_told_at_once_and_long_values_are_cut() -> None:
    found = problems("[store]\nfsync = 1\n[listen]\nudp_port = '" + "x" * 500 + "'", {"IDNODE_LISTEN_TCP_PORT": "x"})
    assert [line.partition(": expected")[0] for line in found] == [
        "node.toml: store.fsync",
        "node.toml: listen.udp_port",
        "IDNODE_LISTEN_TCP_PORT: listen.tcp_port",
    ]
    assert all(len(line) < 200 for line in found)


def test_sessions_last_no_longer_than_configured() -> None:
    """The two settings reach the table that ends sessions."""

    async def main(adapters: SimulatedAdapters) -> list[bool]:
        alive = []
        flags = ["listen.addresses=127.0.0.1", "listen.http_port=none", "authentication.session_idle_s=60"]
        async with running(adapters, load(None, {}, flags).config) as node:
            resolver = Resolver(str(node.tcp_addresses[0]), adapters=adapters)
            session = await new_session(resolver)
            for wait_s in (59.0, 2.0):
                await adapters.clock.sleep(wait_s)
                alive.append(node.sessions.get(session, adapters.clock.now()) is not None)
            await resolver.close()
        return alive

    assert run_simulated(main, seed=5) == [True, False]
