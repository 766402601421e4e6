"""``idnode`` with a small answer cache, so that what it grows by under fuzzing is a leak and not its cache filling."""

from __future__ import annotations

from typing import Any

from idnode import node
from idnode.answer_cache import AnswerCache
from idnode.cli.main import main

CACHE_OCTETS = 1 << 20

if __name__ == "__main__":
    module: Any = node
    module.AnswerCache = lambda octets_max: AnswerCache(CACHE_OCTETS)
    main()
