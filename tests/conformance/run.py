# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the cases for one subject and prints a line of JSON for each: ``python3 -m conformance.run SUBJECT [CASE …]``."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import traceback
import typing as t

from conformance.cases import CASES, WEIGHTED
from conformance.subject import Subject
from conformance.subjects import SUBJECTS


def run(subject: Subject, title: str) -> dict[str, t.Any]:
    """Run one case. *outcome* is passed, failed or limited; *text* is the remark, the traceback or why not."""
    begun = time.monotonic()
    outcome = "passed"
    limit = subject.limits.get("weight" if title in WEIGHTED else title)
    if limit:
        return {"case": title, "outcome": "limited", "text": limit, "seconds": 0.0}
    try:
        text = subject.instead.get(title, CASES[title])(subject) or ""
    except Exception:
        outcome, text = "failed", traceback.format_exc()[-3000:] + subject.log()
    return {"case": title, "outcome": outcome, "text": text, "seconds": round(time.monotonic() - begun, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("subject", choices=sorted(SUBJECTS))
    parser.add_argument("case", nargs="*", metavar="CASE", help=f"by default all: {', '.join(CASES)}")
    arguments = parser.parse_args()
    unknown = set(arguments.case) - set(CASES)
    if unknown:
        parser.error(f"there is no case {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory() as directory:
        subject = SUBJECTS[arguments.subject](directory)
        head = {"subject": arguments.subject, "driver": subject.driver, "title": subject.title, "version": subject.version(), "why": subject.why}
        print(json.dumps(head), flush=True)
        try:
            subject.start()
            for title in arguments.case or CASES:
                print(json.dumps(run(subject, title)), flush=True)
                subject.back_to_normal()
        finally:
            subject.stop()


if __name__ == "__main__":
    main()
