"""Every setting of a node: one name each, as flag, environment variable (``IDNODE_...``) and TOML key.

Units stand in the names: ``_s`` seconds, ``_ms`` milliseconds, ``_octets`` octets. Unknown keys are errors.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Port = Annotated[int, Field(ge=0, le=65_535)]
NetworkText = Annotated[str, BeforeValidator(lambda text: str(ipaddress.ip_network(text)))]
ReferenceText = Annotated[str, Field(pattern=r"^\d+:.+$", description="index:handle, for example 300:99.900/ADMIN")]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ListenConfig(_Section):
    """Where the node listens. Every address gets sockets of its own family; null = not listened on; 0 = a free port."""

    addresses: tuple[str, ...] = ("127.0.0.1", "::1")
    udp_port: Port | None = 2641
    tcp_port: Port | None = 2641
    http_port: Port | None = 8000
    public_address: str | None = None
    udp_admin: bool = False


class StoreConfig(_Section):
    """Where records are kept: in memory without ``folder``, in LMDB with it."""

    folder: Path | None = None
    case_mode: Literal["fold-all", "fold-prefix"] = "fold-all"
    fsync: bool = True
    after_images: bool = False


class NetworkConfig(_Section):
    """How strangers are treated. Loopback and private networks are trusted, others only when listed."""

    trusted: tuple[NetworkText, ...] = ()
    trust_private: bool = True
    untrusted_udp_octets_per_s: int = Field(default=10 * 1024, ge=0)
    untrusted_udp_burst_octets: int = Field(default=64 * 1024, ge=0)
    limit_trusted: bool = False
    requests_per_s: float = Field(default=1_000.0, gt=0)
    authentications_per_s: float = Field(default=20.0, gt=0)
    tcp_idle_s: float = Field(default=10.0, gt=0)
    tcp_close_after_answer: bool = False
    tcp_connections_per_address: int = Field(default=256, ge=1)
    tcp_connections: int = Field(default=10_000, ge=1)
    answer_cache_octets: int = Field(default=256 * 1024 * 1024, ge=0)


class AuthenticationConfig(_Section):
    """Administration: who rules the server and which proofs are taken."""

    server_admins: tuple[ReferenceText, ...] = ()
    home_only_admins: tuple[ReferenceText, ...] = ()
    server_admin_full_access: bool = False
    anonymous_full_access: bool = False
    allow_prefix_admins: bool = True
    allow_list: bool = True
    weak_answers: bool = False
    http_auth: Literal["loopback", "never"] = "loopback"
    challenge_ttl_s: float = Field(default=30.0, gt=0, le=3_600)
    session_idle_s: float = Field(default=900.0, gt=0, le=900)
    session_life_s: float = Field(default=28_800.0, gt=0, le=28_800)
    workers: int = Field(default=4, ge=1, le=64)


class NodeConfig(_Section):
    """One node."""

    name: str = "idnode"
    role: Literal["root", "top", "secondary", "enterprise", "recursive"] = "secondary"
    prefixes: tuple[str, ...] = ()
    description: str = "idnode"
    site_file: Path | None = None
    """The HS_SITE record (JSON or octets) of a site with several servers; without it the node describes itself."""
    server_id: int = Field(default=1, ge=1, le=2**31 - 1)
    """Which server of its site the node is."""
    listen: ListenConfig = ListenConfig()
    store: StoreConfig = StoreConfig()
    network: NetworkConfig = NetworkConfig()
    authentication: AuthenticationConfig = AuthenticationConfig()
    key_file: Path | None = None
