"""A country in a box: a whole tree of nodes in one process, on loopback, joined by real delegation records."""
