"""Cost against N: what was measured, the line through it, and what it says about populations nobody stored here."""
