# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import json
import typing as t

from ansible_collections.seamless.rollout.plugins.plugin_utils._verdict import read_analysis
from ansible_collections.seamless.rollout.plugins.plugin_utils._withheld import whole, withheld

ANALYSIS = {
    "min_requests": 700,
    "source": {"type": "prometheus", "url": "https://ann:s3cret@metrics.example.com/?token=s3cret", "headers": {"Authorization": "Bearer s3cret"}},
    "gates": [{"name": "queue", "url": "https://metrics.example.com/q", "headers": {"X-Key": "s3cret"}, "max": 3}],
}
BLOCKERS = [{"file": "/etc/no-rollout"}, {"url": "https://ci.example.com/freeze", "headers": {"X-Key": "s3cret"}}]


def facts(analysis: t.Any, blockers: list[dict[str, t.Any]]) -> dict[str, t.Any]:
    read, problems = read_analysis(analysis)
    assert not problems
    return {"targets": ["web1", "web2"], "analysis": dataclasses.asdict(read) if read else None, "blockers": blockers, "order": ["web1"]}


def test_what_may_be_secret_is_read_again_where_it_is_needed() -> None:
    variables = {("web1", "rollout_canary_analysis"): ANALYSIS, ("web1", "rollout_blockers"): BLOCKERS}
    given = facts(ANALYSIS, BLOCKERS)
    kept = withheld(given)
    assert "s3cret" not in json.dumps(kept) and kept["withheld"] == ["analysis", "blockers"]
    assert kept["analysis"]["source"] == {"type": "prometheus", "url": "https://metrics.example.com/"} and kept["analysis"]["gates"][0]["max"] == 3
    found = whole(json.loads(json.dumps(kept)), lambda host, name: variables[host, name])
    assert (found["analysis"], found["blockers"], found["order"]) == (given["analysis"], BLOCKERS, ["web1"])


def test_nothing_is_read_again_where_nothing_was_withheld() -> None:
    def never(host: str, name: str) -> t.Any:
        raise AssertionError(f"{name} of {host} was read")

    for analysis, blockers in ((None, []), ({"source": {"type": "json", "url": "https://metrics.example.com/a"}}, [{"command": ["true"]}])):
        given = facts(analysis, blockers)
        kept = withheld(given)
        assert json.dumps(kept) == json.dumps({**given, "withheld": []}) and whole(kept, never) == kept
