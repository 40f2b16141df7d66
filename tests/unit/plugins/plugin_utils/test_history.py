# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is said of earlier rollouts: DORA's measures, and the rollouts of other controllers as the journals of hosts tell them."""

from __future__ import annotations

import dataclasses
import subprocess
import time
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._release.store import Store
from ansible_collections.seamless.rollout.plugins.plugin_utils import _dora as dora
from ansible_collections.seamless.rollout.plugins.plugin_utils import _past
from ansible_collections.seamless.rollout.plugins.plugin_utils._ledger import Ledger
from hypothesis import given
from hypothesis import strategies as st

HOUR = 3600.0


def past(number: int, state: str = "succeeded", **changes: t.Any) -> dora.Past:
    """A rollout of release *number* that begins at hour *number* and takes ten minutes."""
    made = {
        "id": f"r{number}", "mode": "release", "state": state, "release": str(number), "started_at": number * HOUR, "finished_at": number * HOUR + 600,
        "left": frozenset({str(number - 1)}), **changes,
    }
    return dora.Past(**made)


def test_the_four_measures_of_a_few_days() -> None:
    rollouts = [
        past(1, lead=0.5 * HOUR, lead_from="commit"),
        past(2, "failed"),
        past(4, lead=3 * HOUR, lead_from="staged"),
        past(5, "rolled_back"),
        past(6, "refused", touched=False),
        past(7, "failed", touched=False),
        past(8, mode="preview"),
    ]
    assert dora.measure(rollouts, 0, 48 * HOUR) == {
        "days": 2.0, "deployments": 4, "succeeded": 2, "failed": 2, "deployments_per_day": 1.0, "lead_time_seconds": (0.5 * HOUR + HOUR) / 2 + 600,
        "lead_time_from": {"commit": 1, "staged": 1}, "change_fail_rate": 0.5, "recovery_seconds": (2 * HOUR + 600 + 600) / 2, "not_restored": [],
    }


def test_a_release_that_was_taken_back_later_failed_too_and_is_restored_by_that() -> None:
    back = past(3, mode="rollback", release="1", left=frozenset({"2"}))
    found = dora.measure([past(1), past(2), back], 0, 24 * HOUR)
    assert (found["deployments"], found["failed"], found["recovery_seconds"]) == (2, 1, HOUR + 600)
    # One that came between is what was taken back then.
    assert dora.measure([past(1), past(2), past(3), dataclasses.replace(back, started_at=9 * HOUR, left=frozenset({"3"}))], 0, 24 * HOUR)["failed"] == 1


def test_what_nobody_has_repaired_yet_is_named_and_does_not_count_as_a_time() -> None:
    found = dora.measure([past(1), past(2, "rollback_failed")], 0, 24 * HOUR)
    assert found["not_restored"] == ["r2"] and found["recovery_seconds"] is None
    assert dora.measure([past(1), past(2, "rollback_failed"), past(5, mode="recover", release=None)], 0, 24 * HOUR)["recovery_seconds"] == 3 * HOUR + 600


def test_nothing_is_nothing_and_not_zero() -> None:
    found = dora.measure([], 0, 24 * HOUR)
    assert found["change_fail_rate"] is None and found["lead_time_seconds"] is None and found["deployments_per_day"] == 0


MODES = ["release", "update", "promote", "rollback", "recover", "preview"]
STATES = ["succeeded", "failed", "rolled_back", "rollback_failed", "aborted", "interrupted", "refused", "superseded"]


@st.composite
def some_rollouts(draw: st.DrawFn) -> list[dora.Past]:
    found = []
    for number in range(draw(st.integers(0, 12))):
        begun = draw(st.floats(0, 1e6))
        release = draw(st.one_of(st.none(), st.sampled_from("abc")))
        found.append(
            dora.Past(
                f"r{number}", draw(st.sampled_from(MODES)), draw(st.sampled_from(STATES)), release, begun, begun + draw(st.floats(0, 1e5)),
                draw(st.booleans()), frozenset(draw(st.lists(st.sampled_from("abc"), max_size=2))), draw(st.one_of(st.none(), st.floats(0, 1e6))),
                draw(st.sampled_from(["commit", "staged"])),
            )
        )
    return found


@given(rollouts=some_rollouts(), since=st.floats(0, 5e5), span=st.floats(1, 1e6), data=st.data())
def test_measures_hold_whatever_happened(rollouts: list[dora.Past], since: float, span: float, data: st.DataObject) -> None:
    found = dora.measure(rollouts, since, since + span)
    assert 0 <= found["succeeded"] <= found["deployments"] and found["deployments"] - found["succeeded"] <= found["failed"] <= found["deployments"]
    assert (found["change_fail_rate"] is None) == (found["deployments"] == 0) and 0 <= (found["change_fail_rate"] or 0) <= 1
    assert all(found[key] is None or found[key] >= 0 for key in ("lead_time_seconds", "recovery_seconds", "deployments_per_day"))
    assert len(found["not_restored"]) <= found["failed"] and (found["recovery_seconds"] is None) == (found["failed"] == len(found["not_restored"]))
    assert dora.measure(data.draw(st.permutations(rollouts)), since, since + span) == found
    nothing = [past(99, state, id=f"x{state}", mode=mode) for mode, state in (("release", "refused"), ("preview", "succeeded"), ("update", "superseded"))]
    assert dora.measure([*rollouts, *nothing], since, since + span) == found
    assert dora.measure(rollouts, since - 1e9, since - 1e8)["deployments"] == 0


@pytest.mark.parametrize(("seconds", "said"), [(None, "-"), (0.2, "0 s"), (61, "1 min 1 s"), (3600, "1 h"), (90061, "1 d 1 h")])
def test_lengths_are_said_for_people(seconds: float | None, said: str) -> None:
    assert dora.lasted(seconds) == said


@pytest.fixture
def journal(store: Store, releases: t.Any, perform: t.Any) -> t.Callable[[], list[dict[str, t.Any]]]:
    """A host that another controller moved from 1.0 to 2.0, where 3.0 failed and went back; what its journal says."""
    releases("1.0", "2.0", "3.0")
    perform("release_switch", root=store.root, release="1.0")

    def move(rollout_id: str, *ways: tuple[str, str]) -> None:
        perform("rollout_lock", root=store.root, lock_id=rollout_id, owner="bob@ci", reason="it is Friday")
        for release, reason in ways:
            perform("release_switch", root=store.root, release=release, rollout_id=rollout_id, reason=reason)
        perform("rollout_lock", root=store.root, lock_id=rollout_id, state="released")

    move("20261122T101500Z-aaaaaa", ("2.0", "activate"))
    move("20261122T111500Z-bbbbbb", ("3.0", "activate"), ("2.0", "rollback"))
    move("20261122T121500Z-cccccc", ("1.0", "rollback"))
    return lambda: perform("release_info", root=store.root, journal_days=30)["journal"]


def test_other_controllers_rollouts_are_told_by_the_hosts(journal: t.Any) -> None:
    told = _past.of_journals({"web1": journal(), "web2": []}, known=())
    assert [(one["id"][-6:], one["mode"], one["state"], one["from"], one["release"]) for one in told] == [
        ("aaaaaa", "release", "succeeded", ["1.0"], "2.0"), ("bbbbbb", "release", "rolled_back", ["2.0"], "3.0"),
        ("cccccc", "rollback", "succeeded", ["2.0"], "1.0"),
    ]
    assert {(one["who"], one["controller"], one["reason"]) for one in told} == {("bob@ci", "ci", "it is Friday")}
    assert told[0]["started_at"] == _past.seconds_of("2026-11-22T10:15:00Z") and told[0]["hosts"] == {"web1": "done"}
    assert _past.of_journals({"web1": journal()}, known=[one["id"] for one in told]) == []


def test_ledger_and_journals_make_one_history(tmp_path: t.Any, journal: t.Any) -> None:
    ledger = Ledger(str(tmp_path))
    row = {
        "id": "20261122T111500Z-bbbbbb", "app": "shop", "release": "3.0", "mode": "release", "state": "planned", "reason": "", "owner": "ann@desk",
        "controller": "desk", "pid": 1, "process_start": "long ago", "started_at": _past.seconds_of("2026-11-22T11:15:00"),
    }
    ledger.begin(row)
    ledger.save_plan(row["id"], {"release": "3.0", "hosts": {"web1": {"from": "2.0", "target": "3.0", "state": "pending", "detail": ""}}})
    ledger.update_host(row["id"], "web1", state="in_flight")
    ledger.update_host(row["id"], "web1", state="rolled_back")
    ledger.set_state(row["id"], "rolled_back", halted="web1: it is broken")
    data = {**_past.history(ledger, {"web1": journal()}, str(tmp_path), limit=20, days=3650, now=time.time()), "unread": {"web2": "no route"}}
    assert sorted((one["source"], one["id"][-6:]) for one in data["rollouts"]) == [("journals", "aaaaaa"), ("journals", "cccccc"), ("ledger", "bbbbbb")]
    assert data["dora"]["deployments"] == 2 and data["dora"]["failed"] == 2
    text = _past.history_text("shop", data)
    assert "2.0 -> 3.0" in text and "web1: it is broken" in text and "bob@ci" in text and "change fail rate      100 %" in text
    assert "web2 tells nothing of what other controllers did: no route" in text
    assert len(_past.history(ledger, {"web1": journal()}, str(tmp_path), limit=1, days=1, now=time.time())["rollouts"]) == 1


def test_lead_time_counts_from_the_commit_where_it_is_known(tmp_path: t.Any) -> None:
    clone = tmp_path / "git" / "clone"
    clone.mkdir(parents=True)
    environment = {"GIT_COMMITTER_DATE": "1767225600 +0000", "GIT_AUTHOR_DATE": "1767225600 +0000", "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    for command in (["init", "-q"], ["-c", "user.name=a", "-c", "user.email=a@b.example", "commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run(["git", "-C", str(clone), *command], env=environment, check=True)
    sha = subprocess.run(["git", "-C", str(clone), "rev-parse", "HEAD"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    journals = {
        "web1": [
            {"event": "staged", "release": "2.0", "at": "2026-01-01T10:00:00.000Z", "revision": sha},
            {"event": "staged", "release": "3.0", "at": "2026-01-02T10:00:00.000Z", "revision": None},
        ],
        "web2": [{"event": "staged", "release": "3.0", "at": "2026-01-02T09:00:00.000Z", "revision": "0" * 40}],
    }
    leads = _past.with_leads([{"release": release} for release in ("2.0", "3.0", "4.0")], journals, str(tmp_path))
    assert [(one["lead"], one["lead_from"]) for one in leads] == [
        (1767225600.0, "commit"), (_past.seconds_of("2026-01-02T09:00:00"), "staged"), (None, None),
    ]
