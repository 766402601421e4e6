"""Ranges: one row registers a batch of serials of fixed width with one template (docs/ranges.md)."""
