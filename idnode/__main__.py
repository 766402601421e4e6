"""``python -m idnode``."""

from __future__ import annotations

from idnode.cli.main import main

main()
