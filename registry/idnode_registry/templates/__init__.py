"""Template handles: answers for names that are not stored, made from a namespace's template (docs/protocol.md §9)."""
