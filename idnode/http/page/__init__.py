"""``GET /{handle}``: the page for people, and the redirect behind a printed code (docs/protocol.md §7.5)."""
