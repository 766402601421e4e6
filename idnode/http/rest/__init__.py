"""The reference's JSON REST interface (docs/protocol.md §7), one resource per module."""
