"""Results as JUnit XML, so that a continuous-integration server shows them without knowing us."""

from __future__ import annotations

from xml.etree import ElementTree

from idnode_bench.judging.comparing import Judgement
from idnode_bench.results import Report


def junit_of_report(report: Report) -> bytes:
    """One case per run; an invalid run is a failure that names its faults."""
    suite = ElementTree.Element("testsuite", name=report.report)
    for number, runs in enumerate(report.rounds, 1):
        for run in runs:
            name = f"round {number}: {run.target} over {run.transport} ({run.phase})"
            rate = f"{run.achieved_per_s:.0f}/s"
            _case(suite, report.report, name, None if run.valid else "; ".join(run.faults), rate, run.duration_s)
    return _finished(suite)


def junit_of_judgement(judgement: Judgement) -> bytes:
    """One case per line and per budget; what got worse, or passed its budget, is a failure."""
    suite = ElementTree.Element("testsuite", name="bench compare")
    for line in judgement.lines:
        text = f"{line.before:g} -> {line.after:g} {line.metric.unit}, ratio {line.ratio}: {line.verdict}"
        failure = text if line.verdict == "worse" else None
        _case(suite, "bench compare", f"{line.subject}: {line.metric.name}", failure, text)
    for check in judgement.budgets:
        name = f"{check.budget.target}: {check.budget.metric.name}"
        _case(suite, "bench budget", name, None if check.holds else str(check))
    return _finished(suite)


def _case(
    suite: ElementTree.Element, group: str, name: str, failure: str | None, text: str = "", seconds: float = 0.0
) -> None:
    case = ElementTree.SubElement(suite, "testcase", classname=group, name=name, time=f"{seconds:.3f}")
    if failure is not None:
        ElementTree.SubElement(case, "failure", message=failure)
    if text:
        ElementTree.SubElement(case, "system-out").text = text


def _finished(suite: ElementTree.Element) -> bytes:
    cases = suite.findall("testcase")
    suite.set("tests", str(len(cases)))
    suite.set("failures", str(sum(case.find("failure") is not None for case in cases)))
    octets: bytes = ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True)
    return octets
