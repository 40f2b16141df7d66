# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report of a thousand hosts: how long it takes from the ledger to the page, how large the page is, and what a browser says of it."""

from __future__ import annotations

import functools
import os
import pathlib
import subprocess
import tempfile
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.plugin_utils._report_files import write_reports
from fleet.fleet import REPO
from report.browser import Browser
from report.streams import thousand

from bench.rows import Row

HOSTS = 1000


class Measured(t.NamedTuple):
    """*seconds* from the ledger to all files of the report; *megabytes* are the page's; *complaints* what the browser's console said and what it loaded."""

    seconds: float
    megabytes: float
    events: int
    complaints: list[str]
    rows: int


@functools.lru_cache(maxsize=1)
def measure() -> Measured:
    subprocess.run([os.path.join(REPO, "tests", "tools", "setup.sh"), "browser"], check=True, stdout=subprocess.DEVNULL)
    with tempfile.TemporaryDirectory() as directory:
        stream = thousand(directory, HOSTS)
        begun = time.monotonic()
        rollout, events = stream.ledger.rollout(stream.id), stream.ledger.events(stream.id)
        path, problems = write_reports(directory, rollout or {}, stream.ledger.hosts(stream.id), events)
        seconds = time.monotonic() - begun
        if problems:
            raise SystemExit("\n".join(problems))
        with Browser() as browser:
            browser.look(width=1400, dark=False)
            browser.open("about:blank")
            browser.complaints(), browser.requests()
            url = pathlib.Path(path).as_uri()
            browser.open(url)
            complaints = [*browser.complaints(), *(request for request in browser.requests() if request != url)]
            rows = int(browser.run("return document.querySelectorAll('#hosts ~ details tr[data-h]').length"))
        return Measured(round(seconds, 2), round(os.path.getsize(path) / 1e6, 2), len(events), complaints, rows)


def seconds() -> list[Row]:
    found = measure()
    return [Row("report_1000_seconds", f"{found.seconds} s ({found.events} events)", "< 5 s", found.seconds < 5)]


def megabytes() -> list[Row]:
    found = measure()
    return [Row("report_1000_mb", f"{found.megabytes} MB", "< 5 MB", 0 < found.megabytes < 5)]


def opens() -> list[Row]:
    found = measure()
    value = f"{found.rows} hosts, {len(found.complaints)} errors"
    return [Row("report_1000_opens", value, f"{HOSTS} hosts, 0 errors", not found.complaints and found.rows == HOSTS)]
