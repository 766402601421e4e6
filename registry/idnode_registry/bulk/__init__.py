"""Bulk load: rows in any order become sorted runs, which a store takes one journal entry each.

``rows`` is what goes in, ``work`` the files between, ``sorting`` the external sort, ``loading`` the whole with its
manifest: what was done survives the end of the process.
"""
