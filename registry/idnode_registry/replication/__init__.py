"""Replication: what a primary sends of its journal and records, and what a mirror does with it (docs/protocol.md §10).

::

    primary   journal ──> journal_feed (format 3, each bucket a queue, signed manifest) ──┐
              journal ──> sequence ──> transactions (formats 1 and 2, one queue) ─────────┼──> records of a stream
              records ──> dump ─────────────────────────────────────────────────────────--┘
    mirror    records of a stream ──> verifying (format 3) ──> applying ──> store; positions beside it
"""
