# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Brings a migration to a state as the module ``migration`` does, in a process that can be killed: it says "ready" when it has the lock and begins.

    python engine.py '{"engine": "postgresql", "host": …, "spec": {…}, "name": "…", "target": "backfilled"}'
"""

from __future__ import annotations

import json
import os
import sys
import typing as t

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._migration import migrate, runner

# The gate is tested by itself. The second look of the verification comes soon, since this is done a thousand times.
REASON = "the test ground knows where its clients are"
WINDOW = 0.2


def parameters(job: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the module's parameters with their defaults."""
    params: dict[str, t.Any] = {name: option.get("default") for name, option in migrate.ARGUMENT_SPEC.items()}
    params.update(
        engine=job["engine"], login_host=job["host"], login_port=job["port"], login_user=job["user"], login_password=job["password"],
        login_db=job["database"], spec=job["spec"], name=job["name"], state=job["target"], verify_window=WINDOW,
        force_contract_reason=REASON if job["target"] in ("quarantined", "contracted") else "",
        force_abort_reason=REASON if job["target"] == "aborted" else "",
    )
    params.update(job.get("params", {}))
    return params


class Runner(runner.Runner):
    """The runner, which says when it begins."""

    def run(self, *args: t.Any, **kwargs: t.Any) -> t.Any:
        print("ready", flush=True)
        return super().run(*args, **kwargs)


def main() -> None:
    job = json.loads(sys.argv[1])
    vars(migrate)["Runner"] = Runner
    try:
        result = migrate.run(parameters(job), bool(job.get("check_mode")))
    except SeamlessError as exc:
        sys.exit(f"{exc} {json.dumps(exc.details, default=str)[:2000]}")
    print(json.dumps(result, default=str))


if __name__ == "__main__":
    main()
