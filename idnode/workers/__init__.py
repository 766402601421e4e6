"""A node of several processes: one that writes, several that resolve (docs/architecture.md)."""
