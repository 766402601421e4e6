"""The HTTP listener: plain and TLS on one port, aiohttp behind both."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final

from aiohttp import web

from idnode.adapters.net import Address, StreamServer
from idnode.http.application import build_application
from idnode.servers.http_connections import HttpConnections, timed
from idnode_registry.crypto import KeyRefused, self_signed_certificate

if TYPE_CHECKING:
    from idnode.node import Node

DRAIN_S: Final = 5.0


async def make_tls_context(node: Node) -> ssl.SSLContext | None:
    """TLS 1.2 and later over the node's own key, as reference clients check it; None for DSA keys."""
    try:
        identity = self_signed_certificate(node.signer, node.adapters.clock.now())
    except KeyRefused:
        return None
    disk = node.adapters.disk
    folder = disk.temporary_folder("idnode-tls-")
    try:
        disk.write_atomic(folder / "key.pem", identity.key)
        disk.write_atomic(folder / "certificate.pem", identity.certificate)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(str(folder / "certificate.pem"), str(folder / "key.pem"))
        return context
    finally:
        disk.remove_tree(folder)


class HttpPort:
    """One listening address with the node's application behind it."""

    def __init__(self, runner: web.AppRunner, server: StreamServer) -> None:
        self._runner = runner
        self._server = server
        self.address: Address = server.addresses[0]

    @classmethod
    async def open(cls, node: Node, host: str, port: int) -> HttpPort:
        """Listen; raises ListenFailed."""
        application = build_application(node)
        application.middlewares.append(timed)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=DRAIN_S)
        await runner.setup()
        assert runner.server is not None
        network = node.config.network
        connections = HttpConnections(
            node.metrics,
            node.adapters.clock,
            in_all_max=network.tcp_connections,
            per_address_max=network.tcp_connections_per_address,
        )
        factory = connections.factory(runner.server)
        try:
            server = await node.adapters.net.listen_stream(factory, host, port, sniffed_tls=node.tls_context)
        except BaseException:
            await runner.cleanup()
            raise
        return cls(runner, server)

    async def close(self) -> None:
        """Accept no more, let requests under way finish."""
        self._server.close()
        await self._server.wait_closed()
        await self._runner.cleanup()
