# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Load on a URL until a file is there: ``load.py URL FILE``. Prints what came of it and fails when a request did."""

from __future__ import annotations

import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests"))

from fleet.load import Load

if __name__ == "__main__":
    deadline = time.monotonic() + 300
    with Load([sys.argv[1]], rate=100, clients=10) as load:
        while not os.path.exists(sys.argv[2]) and time.monotonic() < deadline:
            time.sleep(0.2)
    summary = load.summary()
    print(json.dumps(summary))
    sys.exit(1 if summary["failed"] or not summary["requests"] else 0)
