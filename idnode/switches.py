"""What the parts of a node take out of its configuration."""

from __future__ import annotations

from idnode.config import NodeConfig
from idnode.references import parse_reference
from idnode_registry.budgets import DEFAULT_RATES, Rate, WorkClass
from idnode_registry.registry import RegistrySettings


def registry_settings(config: NodeConfig) -> RegistrySettings:
    """The registry's switches out of a node's configuration."""

    def encoded(text: str | None) -> bytes | None:
        return None if text is None else text.encode("utf-8")

    section, templates = config.authentication, config.templates
    return RegistrySettings(
        server_admins=tuple(map(parse_reference, section.server_admins)),
        home_only_admins=tuple(map(parse_reference, section.home_only_admins)),
        server_admin_full_access=section.server_admin_full_access,
        allow_prefix_admins=section.allow_prefix_admins,
        allow_list=section.allow_list,
        anonymous_full_access=section.anonymous_full_access,
        after_images=config.store.after_images,
        replication_admins=tuple(map(parse_reference, section.replication_admins)),
        is_mirror=config.mirror is not None,
        site_name=config.name,
        namespace=encoded(templates.namespace),
        namespace_override=encoded(templates.namespace_override),
        template_delimiter=encoded(templates.delimiter),
    )


def rates(config: NodeConfig) -> dict[WorkClass, Rate]:
    """What each source may ask for, per class of work."""
    network = config.network
    changed = {
        WorkClass.RESOLVE: Rate(network.requests_per_s, 2 * network.requests_per_s),
        WorkClass.AUTH: Rate(network.authentications_per_s, 10 * network.authentications_per_s),
        WorkClass.UDP_OCTETS: Rate(
            network.untrusted_udp_octets_per_s, max(1, network.untrusted_udp_burst_octets), network_factor=1.0
        ),
    }
    return {**DEFAULT_RATES, **changed}
