"""What can go wrong in a benchmark run, and what to do about it."""

from __future__ import annotations


class BenchError(Exception):
    """A benchmark could not be run; the message says what to change."""


class NotLoopback(BenchError):
    """The target is not on this machine: load is sent elsewhere only with --i-own-this-host."""


class NoAnswer(BenchError):
    """The target did not answer a single request: is it running, and does it hold the population?"""


class TargetFailed(BenchError):
    """A server the harness started ended or never became ready; its own output says why."""


class PeerMissing(BenchError):
    """The peer to compare with cannot be built or run here; the message names what is missing."""


class NotAResult(BenchError):
    """A file is not a result of ``idnode bench``, or of another version; the message says what is wrong with it."""


class WrongPopulation(BenchError):
    """The data folder does not hold the population that is asked for; the message says what to do."""
