"""Who asks, for what, when, and how it is counted."""
