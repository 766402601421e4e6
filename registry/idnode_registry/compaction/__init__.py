"""Records as short rows: what the records of a store have in common is kept once, in templates.

``template`` is what is kept, ``layout`` the way between a record and its row, ``learning`` makes a template from sample
records, ``compactor`` is the one door for engines.
"""
