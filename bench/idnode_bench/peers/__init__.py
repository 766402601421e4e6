"""Servers that are not ours, started for a run on this machine: the reference's, and two of the DNS."""
