"""``/admin``: for the machine's own operators. Answered to loopback only, and never to a page in somebody's browser."""
