# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Load on a URL until a file is there. Prints what came of it and fails when a request did."""

from __future__ import annotations

import argparse
import collections
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests"))

from fleet.load import Load

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("stop", help="file that ends the load")
    parser.add_argument("--keys", default="", help="file for the keys of what was written, by the last word of \"wrote\" in the answers")
    parser.add_argument("--idle-may-close", action="store_true", help="a connection that is closed while idle is no failure: clients send again by themselves")
    arguments = parser.parse_args()
    deadline = time.monotonic() + 300
    keys = arguments.keys
    with Load([arguments.url], rate=40 if keys else 100, clients=10, version_key="wrote" if keys else "version") as load:
        while not os.path.exists(arguments.stop) and time.monotonic() < deadline:
            time.sleep(0.2)
    summary = load.summary()
    if keys:
        with open(keys, "w", encoding="utf-8") as file:
            file.writelines(f"{sample.served.split()[-1]}\n" for sample in load.samples if sample.served)
    else:
        summary["served"] = collections.Counter(sample.served for sample in load.samples if not sample.error)
    print(json.dumps(summary))
    tolerated = summary["errors"].get("reset-idle", 0) if arguments.idle_may_close else 0
    sys.exit(1 if summary["failed"] > tolerated or not summary["requests"] else 0)
