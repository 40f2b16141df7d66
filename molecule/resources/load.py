# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Load on a URL until a file is there: ``load.py URL FILE [KEYS]``. Prints what came of it and fails when a request did.

Into the file KEYS go the keys of what was written, by the last word of ``wrote`` in the answers.
"""

from __future__ import annotations

import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests"))

from fleet.load import Load

if __name__ == "__main__":
    deadline = time.monotonic() + 300
    keys = sys.argv[3] if len(sys.argv) > 3 else ""
    with Load([sys.argv[1]], rate=40 if keys else 100, clients=10, version_key="wrote" if keys else None) as load:
        while not os.path.exists(sys.argv[2]) and time.monotonic() < deadline:
            time.sleep(0.2)
    summary = load.summary()
    print(json.dumps(summary))
    if keys:
        with open(keys, "w", encoding="utf-8") as file:
            file.writelines(f"{sample.served.split()[-1]}\n" for sample in load.samples if sample.served)
    sys.exit(1 if summary["failed"] or not summary["requests"] else 0)
