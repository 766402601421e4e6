"""Servers that are not ours, started for a run on the same machine: the reference's, and two of the domain name system."""
