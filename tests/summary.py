#!/usr/bin/env python3
"""Adds up all test programs: one line "N passed, N failed[, N skipped]", and a non-zero exit code unless all passed.

usage: summary.py REPORTS    a folder with ctest.xml (ctest --output-junit) and NAME.json of every GoogleTest program

A GoogleTest program counts by its cases, any other ctest entry as one. A program that crashed, timed out, or failed without a failed
case (a leak, say) has one failure more than its report knows: nothing that went wrong may end as "0 failed".
"""
import json
import pathlib
import sys
import xml.etree.ElementTree as xml


def count_report(path):
    """(passed, failed, skipped) of one GoogleTest report; None when the program did not live to write it."""
    try:
        report = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    cases = [case for suite in report["testsuites"] for case in suite["testsuite"] if case["status"] == "RUN"]
    failed = sum("failures" in case for case in cases)
    skipped = sum(case["result"] == "SKIPPED" for case in cases)
    return len(cases) - failed - skipped, failed, skipped


def count_entry(entry, reports):
    status = entry.get("status")
    if status in ("disabled", "notrun"):
        # Not run although it was to be: the program is missing. Disabled on purpose: skipped.
        return (0, 0, 1) if status == "disabled" else (0, 1, 0)
    went_well = status == "run"
    cases = count_report(reports / (entry.get("name") + ".json"))
    if cases is None:
        return (1, 0, 0) if went_well else (0, 1, 0)
    passed, failed, skipped = cases
    if not went_well and failed == 0:
        failed = 1
    return passed, failed, skipped


def main():
    reports = pathlib.Path(sys.argv[1])
    try:
        entries = xml.parse(reports / "ctest.xml").getroot().findall("testcase")
    except (OSError, xml.ParseError) as error:
        print(f"summary: error: no usable ctest.xml: {error}", file=sys.stderr)
        entries = []
    passed = failed = skipped = 0
    for entry in entries:
        p, f, s = count_entry(entry, reports)
        if f:
            print(f"failed: {entry.get('name')} ({f} of {p + f + s})")
        passed, failed, skipped = passed + p, failed + f, skipped + s
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 0 if failed == 0 and passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
