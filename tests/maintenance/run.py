# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the cases for one balancer and prints a line of JSON for each: ``python3 -m maintenance.run BALANCER [CASE …]``."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import traceback
import typing as t

from maintenance.cases import CASES
from maintenance.site import SITES, Site


def run(site: Site, title: str) -> dict[str, t.Any]:
    """Run one case. *outcome* is passed or failed; *text* is the remark or the traceback."""
    begun, outcome = time.monotonic(), "passed"
    try:
        text = CASES[title](site) or ""
    except Exception:
        outcome, text = "failed", traceback.format_exc()[-3000:] + site.log()
    return {"case": title, "outcome": outcome, "text": text, "seconds": round(time.monotonic() - begun, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("balancer", choices=sorted(SITES))
    parser.add_argument("case", nargs="*", metavar="CASE", help=f"by default all: {', '.join(CASES)}")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        site = SITES[arguments.balancer](directory)
        print(json.dumps({"balancer": arguments.balancer, "title": site.title, "version": site.version()}), flush=True)
        try:
            site.start()
            for title in arguments.case or CASES:
                print(json.dumps(run(site, title)), flush=True)
                site.back_to_normal()
        finally:
            site.stop()


if __name__ == "__main__":
    main()
