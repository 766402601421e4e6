"""The walk from the root to an answer, its caches and its budgets (docs/protocol.md §1.5, §1.6, §6)."""
