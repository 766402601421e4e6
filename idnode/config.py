"""Every setting of a node: one name each, as flag, environment variable (``IDNODE_...``) and TOML key.

Units stand in the names: ``_s`` seconds, ``_octets`` octets, ``_per_s`` per second. :mod:`idnode.settings` reads them
from a file, the environment and flags; docs/configuration.md is generated from the descriptions here.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from idnode_registry.errors import TemplateRefused
from idnode_registry.store import EngineName
from idnode_registry.templates.namespace import parse_namespace


def _network(text: str) -> str:
    return str(ipaddress.ip_network(text))


def _address(text: str) -> str:
    ipaddress.ip_address(text)
    return text


def _namespace(text: str) -> str:
    try:
        parse_namespace(text.encode("utf-8"))
    except TemplateRefused as wrong:
        raise ValueError(str(wrong)) from wrong
    return text


Port = Annotated[int, Field(ge=0, le=65_535)]
NetworkText = Annotated[str, AfterValidator(_network), Field(description="a network, such as 192.0.2.0/24")]
AddressText = Annotated[str, AfterValidator(_address), Field(description="an IP address, such as 127.0.0.1")]
ReferenceText = Annotated[str, Field(pattern=r"^\d{1,10}:.+$", description="index:handle, such as 300:99.900/ADMIN")]
NamespaceText = Annotated[str, AfterValidator(_namespace), Field(description="the XML of a namespace")]
DelimiterText = Annotated[str, Field(min_length=1, max_length=64, description="text, such as @")]
PrefixText = Annotated[str, Field(pattern=r"^[^/\s]+$", description="a prefix, such as 99.900")]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
PerSecond = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ListenConfig(_Section):
    """Where the node listens. Every address gets sockets of its own family."""

    addresses: tuple[AddressText, ...] = Field(
        default=("127.0.0.1", "::1"),
        min_length=1,
        description="addresses of this machine; `0.0.0.0` or `::` = all",
    )
    udp_port: Port | None = Field(
        default=2641, description="UDP port of the native protocol; 0 = a free one, none = no UDP"
    )
    tcp_port: Port | None = Field(
        default=2641, description="TCP port of the native protocol; 0 = a free one, none = no TCP"
    )
    http_port: Port | None = Field(
        default=8000, description="HTTP and HTTPS, on one port; 0 = a free one, none = no HTTP"
    )
    public_address: AddressText | None = Field(
        default=None, description="what the site record tells clients instead of the address listened on"
    )
    udp_admin: bool = Field(default=False, description="take administration by UDP too, and say so in the site record")


class StoreConfig(_Section):
    """Where records are kept."""

    folder: Path | None = Field(default=None, description="folder of the store; none = in memory, lost at the end")
    engine: EngineName | None = Field(
        default=None,
        description="`lmdb`, or `rocksdb`: compressed, for very large populations, comes with `idnode[rocksdb]`; "
        "none = what made the folder, `lmdb` for a new one",
    )
    cache_octets: int = Field(
        default=256 * 1024 * 1024,
        ge=0,
        description="memory for what the engine `rocksdb` has unpacked, beside two octets for each record; "
        "`lmdb` needs none",
    )
    case_mode: Literal["fold-all", "fold-prefix"] = Field(
        default="fold-all", description="whether suffixes differ by case (`fold-prefix`); fixed for the life of a store"
    )
    fsync: bool = Field(
        default=True, description="flush before acknowledging; false loses acknowledged writes in a power cut"
    )
    after_images: bool = Field(default=False, description="keep whole records in the journal, not only their digests")


class NetworkConfig(_Section):
    """How strangers are treated. Hosts that are trusted have no limits."""

    trusted: tuple[NetworkText, ...] = Field(
        default=(), description="networks whose hosts are trusted, such as `192.0.2.0/24`"
    )
    trust_private: bool = Field(default=True, description="trust loopback, private and link-local networks")
    untrusted_udp_octets_per_s: int = Field(
        default=10 * 1024, ge=0, description="what the network of a stranger is sent by UDP: its senders may be forged"
    )
    untrusted_udp_burst_octets: int = Field(
        default=64 * 1024, ge=0, description="what it may be sent at once after a pause"
    )
    limit_trusted: bool = Field(default=False, description="apply the limits to trusted hosts too")
    requests_per_s: PerSecond = Field(default=1_000.0, description="requests of one stranger; twice that at once")
    authentications_per_s: PerSecond = Field(default=20.0, description="proofs of one stranger; ten times that at once")
    tcp_idle_s: Seconds = Field(default=10.0, description="how long a TCP connection may wait for its next request")
    tcp_close_after_answer: bool = Field(
        default=False, description="close after each answer, as the reference server does"
    )
    tcp_connections_per_address: int = Field(
        default=256, ge=1, description="open connections of one address, TCP or HTTP each"
    )
    tcp_connections: int = Field(default=10_000, ge=1, description="open connections in all, TCP or HTTP each")
    answer_cache_octets: int = Field(
        default=256 * 1024 * 1024, ge=0, description="memory for finished answers; 0 = no cache"
    )


class AuthenticationConfig(_Section):
    """Administration: who rules the server and which proofs are taken."""

    server_admins: tuple[ReferenceText, ...] = Field(
        default=(), description="`index:handle` of who may home prefixes; index 0 = any key of the handle"
    )
    home_only_admins: tuple[ReferenceText, ...] = Field(
        default=(), description="who may home prefixes and nothing else"
    )
    replication_admins: tuple[ReferenceText, ...] = Field(
        default=(), description="who may take everything as a mirror does, secret values too"
    )
    server_admin_full_access: bool = Field(default=False, description="server administrators may change every record")
    anonymous_full_access: bool = Field(
        default=False, description="anybody may change everything: for experiments only"
    )
    allow_prefix_admins: bool = Field(
        default=True, description="HS_ADMIN values of a prefix's record give rights under it"
    )
    allow_list: bool = Field(default=True, description="answer list requests of those who have the right")
    weak_answers: bool = Field(default=False, description="take MD5 and SHA-1 answers to challenges of our own")
    http_auth: Literal["loopback", "never"] = Field(
        default="loopback", description="where secrets are taken over plain HTTP; HTTPS always takes them"
    )
    challenge_ttl_s: Seconds = Field(default=30.0, le=3_600, description="how long a challenge may be answered")
    session_idle_s: Seconds = Field(default=900.0, le=900, description="how long a session may go unused")
    session_life_s: Seconds = Field(default=28_800.0, le=28_800, description="how long a session may live")
    workers: int = Field(default=4, ge=1, le=64, description="proofs that are checked at once")


class ResolutionConfig(_Section):
    """Names that are not here: with a start for the walk from the root, the node resolves them for its clients."""

    client_config: Path | None = Field(
        default=None,
        description="folder with `bootstrap_handles` or `root_info`: where the walk begins; none = no walk",
    )
    recursion: bool = Field(
        default=False, description="resolve for whoever sets REC; false = only for clients too old for referrals"
    )
    cache_octets: int = Field(
        default=64 * 1024 * 1024, ge=0, description="memory for records of other servers; 0 = every question is walked"
    )
    negative_s: float = Field(
        default=10.0, ge=0, le=3_600, description='how long "there is no such handle" is remembered; 0 = not at all'
    )
    prefix_packets_per_s: PerSecond = Field(
        default=200.0, description="packets upstream for names under one prefix, for all clients together"
    )


class TemplatesConfig(_Section):
    """Names that are not stored but made out of a base by a template (docs/protocol.md §9)."""

    namespace: NamespaceText | None = Field(
        default=None, description="for prefixes whose prefix handle has no HS_NAMESPACE value"
    )
    namespace_override: NamespaceText | None = Field(
        default=None, description="in the place of every prefix handle's HS_NAMESPACE value"
    )
    delimiter: DelimiterText | None = Field(
        default=None, description="where names are cut when no namespace says; none = names are not cut"
    )


class TrustConfig(_Section):
    """Signed records: an HS_SIGNATURE value of the node's own at registration; verification of what it passes on."""

    sign: bool = Field(default=False, description="sign every record that is created or changed")
    key_file: Path | None = Field(default=None, description="the private key to sign with, mode 0600")
    certificate_file: Path | None = Field(
        default=None, description="the text of the key's HS_CERT value: its name and its scope"
    )
    chain: tuple[ReferenceText, ...] = Field(
        default=(), description="`index:handle` of the certificates up to the root, nearest first"
    )
    signature_life_s: Seconds = Field(default=31_536_000.0, description="how long a signature is valid")
    verify: Literal["off", "report", "require"] = Field(
        default="off",
        description="signatures of records that are resolved for clients: not looked at, reported, or required to be "
        "valid",
    )
    root_files: tuple[Path, ...] = Field(
        default=(),
        description="root keys as HS_PUBKEY data, besides those of 0.0/0.0 in `resolution.client_config`",
    )


class LogConfig(_Section):
    """The log: one JSON object per line on standard error (docs/logs.md)."""

    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="the least that is written")
    mask_clients: bool = Field(
        default=False, description="write networks (/24, /56) in the place of clients' addresses"
    )


class MirrorConfig(_Section):
    """What this node is a mirror of; without this section it is primary (docs/protocol.md §10)."""

    primary: str = Field(
        min_length=1, description="the primary: `host:port` of its native TCP, or `https://host:port` of its HTTP port"
    )
    primary_keys: tuple[str, ...] = Field(
        min_length=1,
        description="its public keys, HS_PUBKEY octets in base64; a key taken out is worth nothing from then on",
    )
    administrator: ReferenceText = Field(description="`index:handle` of a replication administrator of the primary")
    secret_file: Path | None = Field(default=None, description="the administrator's secret key, read without line end")
    private_key_file: Path | None = Field(default=None, description="the administrator's private key, instead of it")
    dialect: Literal["idnode", "reference"] = Field(
        default="idnode", description="what the primary is: an idnode, or a Handle.Net server"
    )
    interval_s: Seconds = Field(default=30.0, le=86_400, description="pause between two askings once nothing is new")
    when_cut: Literal["dump", "wait"] = Field(
        default="dump",
        description="when the primary no longer keeps what is missing: take a dump, or wait for a person",
    )
    stale_after_s: Seconds = Field(
        default=3_600.0, description="without a proven answer for so long the node is not ready any more"
    )
    hash_option: Literal[0, 1, 2] = Field(default=2, description="hash option of the mirror's own site")
    servers: int = Field(default=1, ge=1, le=1_024, description="servers of the mirror's own site")
    position: int = Field(default=0, ge=0, le=1_023, description="which of them this one is, counted from 0")


class NodeConfig(_Section):
    """One node."""

    name: str = Field(default="idnode", min_length=1, description="what the node is called in logs and ready files")
    role: Literal["root", "top", "secondary", "enterprise", "recursive"] = Field(
        default="secondary", description="its place in the tree"
    )
    prefixes: tuple[PrefixText, ...] = Field(
        default=(), description="prefixes to answer for; homed at the start if need be"
    )
    description: str = Field(default="idnode", description="the description in the site record")
    site_file: Path | None = Field(
        default=None,
        description="the HS_SITE record (JSON or octets) of a site with several servers; none = described by the node",
    )
    workers: int = Field(
        default=1,
        ge=1,
        le=64,
        description="processes that resolve, beside one that writes (Linux); 1 = one process does everything",
    )
    server_id: int = Field(default=1, ge=1, le=2**31 - 1, description="which server of its site the node is")
    listen: ListenConfig = ListenConfig()
    store: StoreConfig = StoreConfig()
    network: NetworkConfig = NetworkConfig()
    authentication: AuthenticationConfig = AuthenticationConfig()
    resolution: ResolutionConfig = ResolutionConfig()
    mirror: MirrorConfig | None = Field(default=None, description="what this node is a mirror of; none = it is primary")
    templates: TemplatesConfig = TemplatesConfig()
    trust: TrustConfig = TrustConfig()
    log: LogConfig = LogConfig()
    key_file: Path | None = Field(
        default=None,
        description="the server's private key, made if absent; none = `server.key` beside the store's folder",
    )

    def of_one_process(self) -> NodeConfig:
        """Itself; raises ValueError when it asks for several processes, which only ``idnode serve`` starts."""
        if self.workers > 1:
            raise ValueError(f"workers is {self.workers}, but a node inside a program is one process: set it to 1")
        return self
