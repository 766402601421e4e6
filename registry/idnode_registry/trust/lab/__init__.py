"""The trust laboratory: signed chains made on purpose, whole and broken in named ways, with the verdict each must get.

::

    making  -- a random chain from a root to a record        defects -- one way to break it each, in a table
    drafts --- what is altered before anything is signed     vectors -- the same as JSON, for other languages
    seeded --- keys and choices that repeat with a seed
"""
