"""``up``: a demo node in the foreground, and what every command that runs a node shares."""

from __future__ import annotations

import asyncio
import gc
import json
import signal
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from idnode.adapters import Adapters, real_adapters
from idnode.adapters.clock import RealClock
from idnode.cli.exits import Exit, errors_as_lines
from idnode.config import AuthenticationConfig, ListenConfig, NetworkConfig, NodeConfig, StoreConfig
from idnode.demo import seed_administrator, seed_prefix
from idnode.keeping import AdminKeys, load_administrator, load_key, write_client_config
from idnode.logs import configure
from idnode.node import Node
from idnode.ready import describe
from idnode.self_check import CheckReport, SelfCheck

DEMO_PREFIX: Final = "99.900"
ADDRESSES: Final = ("127.0.0.1", "::1")


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    loop: type[asyncio.AbstractEventLoop] = uvloop.Loop
    return loop


def run(main: object, log_level: str = "warning") -> int:
    """Run a coroutine on the fastest loop there is, with the log on standard error; its result."""
    configure(log_level, sys.stderr, RealClock().monotonic)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return int(runner.run(main))  # type: ignore[arg-type]


def stop_event() -> asyncio.Event:
    """Set by SIGTERM and SIGINT; the second signal ends the process at once."""
    event = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if event.is_set():
            sys.exit(int(Exit.REFUSED))
        event.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    return event


def settle() -> None:
    """What start-up made stays: the garbage collector need not walk it again, which stops the loop for 20 to 70 ms."""
    gc.collect()
    gc.freeze()


def usable_addresses(adapters: Adapters) -> tuple[str, ...]:
    """127.0.0.1, and ::1 where the machine has it."""
    try:
        adapters.net.free_ports(1, ["::1"])
    except Exception as without:
        if "::1" not in str(without) and "[::" not in str(without):
            raise
        return ADDRESSES[:1]
    return ADDRESSES


class Demo:
    """What ``up`` runs: one node with demo prefixes and an administrator."""

    def __init__(self, adapters: Adapters, config: NodeConfig, data: Path | None, client_config: Path | None) -> None:
        self.adapters = adapters
        self.config = config
        self.data = data
        self._private = adapters.disk.temporary_folder("idnode-up-") if data is None else None
        self.folder = self._private or data or Path()
        adapters.disk.makedirs(self.folder)
        self.client_config = client_config or self.folder / "client"

    def forget(self) -> None:
        """Remove what was only for this run."""
        if self._private is not None:
            self.adapters.disk.remove_tree(self._private)

    def keys(self) -> AdminKeys:
        return load_administrator(self.adapters, self.folder, f"{self.config.prefixes[0]}/ADMIN")

    def seed(self, node: Node, keys: AdminKeys) -> None:
        """Write the records a demo node needs; they are the same after a restart."""
        now = self.adapters.clock.now()
        for prefix in self.config.prefixes:
            seed_prefix(node.registry, prefix.encode("utf-8"), keys.administrator, node.sites, now)
        seed_administrator(node.registry, keys.administrator, now)
        write_client_config(self.adapters, self.client_config, node, keys, list(self.config.prefixes))


def _print_usage(node: Node, demo: Demo, keys: AdminKeys) -> None:
    http, admin = f"http://{node.http_addresses[0]}", keys.administrator
    prefix, secret = demo.config.prefixes[0], admin.secret.decode()
    handle = admin.handle.decode()
    body = '[{"index":1,"type":"URL","data":"https://example.org/"}]'
    print(f"idnode is up: prefix {prefix}, HTTP and HTTPS {http}, UDP and TCP {node.tcp_addresses[0]}")
    print(f"administrator 300:{handle}, secret {secret}; files for Handle.Net clients in {demo.client_config}")
    print("try:")
    print(f"  curl {http}/api/handles/{handle}")
    print(f"  curl -u '300%3A{handle}:{secret}' -X PUT -H 'Content-Type: application/json' -d '{body}' \\")
    print(f"    {http}/api/handles/{prefix}/part-1")
    print(f"  idnode resolve {prefix}/part-1 --server {node.tcp_addresses[0]}", flush=True)


async def _check(node: Node, demo: Demo, keys: AdminKeys) -> CheckReport:
    is_terminal = sys.stderr.isatty()

    def progress(step: str, done: int) -> None:
        if is_terminal and done % 50 == 0:
            print(f"\rself-check: {step} {done}   ", end="", file=sys.stderr, flush=True)

    check = SelfCheck(node, demo.config.prefixes[0], keys.administrator, demo.adapters, progress)
    report = await check.run()
    if is_terminal:
        print(file=sys.stderr)
    ways = ", ".join(f"{number} over {kind.upper()}" for kind, number in report.resolved.items())
    print(f"self-check: {report.registered} identifiers registered, resolved {ways} in {report.seconds:.1f} s")
    for failure in report.failures:
        print(f"self-check failed: {failure}", file=sys.stderr)
    return report


async def _up(demo: Demo, ready_file: Path | None, *, self_check: bool, exit_after: bool) -> int:
    adapters = demo.adapters
    try:
        keys = demo.keys()
        signer = load_key(adapters, demo.folder / "server.key")
        async with Node(demo.config, adapters, signer) as node:
            event = stop_event()
            demo.seed(node, keys)
            settle()
            if ready_file is not None:
                entry = describe(node, demo.config.prefixes, demo.client_config, keys.administrator)
                octets = json.dumps({"nodes": [entry]}, indent=1).encode("utf-8")
                adapters.disk.write_atomic(ready_file, octets, 0o600)
            is_right = True
            if self_check or exit_after:
                is_right = (await _check(node, demo, keys)).is_right
            if not exit_after:
                _print_usage(node, demo, keys)
                await event.wait()
            return int(Exit.OK if is_right else Exit.REFUSED)
    finally:
        demo.forget()


def up(
    data: Annotated[Path | None, typer.Option(help="Keep records, keys and identity in this folder.")] = None,
    prefix: Annotated[list[str] | None, typer.Option(help="A prefix to hold; may be repeated.")] = None,
    ready_file: Annotated[Path | None, typer.Option(help="Write this file once everything answers.")] = None,
    port_base: Annotated[int | None, typer.Option(help="Number the ports upwards from here; 0 = free ones.")] = None,
    client_config: Annotated[Path | None, typer.Option(help="Folder for the files of Handle.Net clients.")] = None,
    self_check: Annotated[bool, typer.Option(help="Register and resolve 1,000 identifiers first.")] = False,
    exit_after: Annotated[bool, typer.Option("--exit", help="End after the self-check.")] = False,
    udp_admin: Annotated[bool, typer.Option(help="Take administration by UDP too.")] = False,
    trust_private: Annotated[bool, typer.Option(help="Trust loopback and private networks.")] = True,
) -> None:
    """Start a demo node: one secondary node with prefix 99.900, ready to be used."""
    base = {None: (2641, 8000), 0: (0, 0)}.get(port_base, (port_base or 0, (port_base or 0) + 1))
    with errors_as_lines():
        adapters = real_adapters()
        config = NodeConfig(
            name="demo",
            prefixes=tuple(prefix or [DEMO_PREFIX]),
            listen=ListenConfig(
                addresses=usable_addresses(adapters),
                udp_port=base[0],
                tcp_port=base[0],
                http_port=base[1],
                udp_admin=udp_admin,
            ),
            store=StoreConfig(folder=None if data is None else data / "store", after_images=True),
            network=NetworkConfig(trust_private=trust_private),
            authentication=AuthenticationConfig(server_admins=(f"0:{(prefix or [DEMO_PREFIX])[0]}/ADMIN",)),
        )
        code = run(
            _up(Demo(adapters, config, data, client_config), ready_file, self_check=self_check, exit_after=exit_after)
        )
        adapters.close()
    raise typer.Exit(code)
