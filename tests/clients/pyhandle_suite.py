"""Runs the unittest modules named as arguments and prints how each test ended, one JSON object; a program of its own.

It runs in a child process whose ``PYTHONPATH`` begins with a copy of pyhandle that has the values file its tests read.
Those tests call ``assertEquals``, a name Python 3.12 took away; from there on it is given back here, as the
``assertEqual`` it always was. Nothing else of pyhandle is touched.
"""

from __future__ import annotations

import json
import sys
import unittest

MODULES = tuple(
    f"pyhandle.tests.testcases.handleclient_{name}_integration_test" for name in ("read", "write", "search")
)


def main() -> None:
    """Load the three modules by name (their main script cannot: it misspells a class) and run them."""
    if not hasattr(unittest.TestCase, "assertEquals"):
        setattr(unittest.TestCase, "assertEquals", unittest.TestCase.assertEqual)  # noqa: B010
    suite = unittest.defaultTestLoader.loadTestsFromNames(sys.argv[1:])
    ended: dict[str, str] = {test.id().rpartition(".")[2]: "passed" for test in _tests(suite)}
    result = unittest.TestResult()
    suite.run(result)
    for word, found in (("failed", result.failures), ("error", result.errors)):
        for test, text in found:
            ended[test.id().rpartition(".")[2]] = f"{word}: {text}"
    for test, reason in result.skipped:
        ended[test.id().rpartition(".")[2]] = f"skipped: {reason}"
    json.dump({"run": result.testsRun, "ended": ended}, sys.stdout)


def _tests(suite: unittest.TestSuite) -> list[unittest.TestCase]:
    found: list[unittest.TestCase] = []
    for each in suite:
        found += _tests(each) if isinstance(each, unittest.TestSuite) else [each]
    return found


if __name__ == "__main__":
    main()
