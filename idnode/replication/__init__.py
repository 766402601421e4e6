"""Replication over the network: streams behind a response message, and the task of a mirror (docs/protocol.md §10)."""
