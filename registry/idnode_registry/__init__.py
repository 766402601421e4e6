"""The registry: records, prefixes, permissions and the journal, above one store interface."""

from __future__ import annotations

from idnode_registry.ask import ANONYMOUS, SYSTEM, Ask, Caller, Reply, refusal
from idnode_registry.errors import RegistryError
from idnode_registry.plans import Change, Plan
from idnode_registry.registry import Registry, RegistrySettings
from idnode_registry.search import Found, find_by_values
from idnode_registry.store import Problem, Store

__all__ = [
    "ANONYMOUS",
    "SYSTEM",
    "Ask",
    "Caller",
    "Change",
    "Found",
    "Plan",
    "Problem",
    "Registry",
    "RegistryError",
    "RegistrySettings",
    "Reply",
    "Store",
    "find_by_values",
    "refusal",
]
