# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan from variables and hosts to facts, text and JSON. The hosts are directories of this machine, read as a rollout reads them."""

from __future__ import annotations

import os
import re
import shutil
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._release import info, lock, switch
from ansible_collections.seamless.rollout.plugins.module_utils._release.prune import mark_good
from ansible_collections.seamless.rollout.plugins.module_utils._release.store import Store
from ansible_collections.seamless.rollout.plugins.plugin_utils import _plan_facts
from ansible_collections.seamless.rollout.plugins.plugin_utils import _preflight as preflight
from ansible_collections.seamless.rollout.plugins.plugin_utils._conductor import Conductor
from ansible_collections.seamless.rollout.plugins.plugin_utils._ledger import Ledger
from ansible_collections.seamless.rollout.plugins.plugin_utils._plan_text import refusal_public
from ansible_collections.seamless.rollout.plugins.plugin_utils._planner import Planner

LOST = {"unreachable": True, "msg": "timed out"}
LOCK = {**{name: option.get("default") for name, option in lock.ARGUMENT_SPEC.items()}, "ttl": 600, "lock_id": "other", "owner": "ann@desk", "reason": "INC-42"}
SWITCH = {name: option.get("default") for name, option in switch.ARGUMENT_SPEC.items()}


class Variables:
    """What the planner asks of a host's variables, without templates."""

    def __init__(self, values: dict[str, t.Any], hosts: dict[str, dict[str, t.Any]]) -> None:
        self.values, self.hosts = values, hosts

    def all_rollout(self, host: str) -> dict[str, t.Any]:
        return {name: value for name, value in {**self.values, **self.hosts[host]}.items() if name.startswith("rollout_")}

    def get(self, host: str, name: str, **dummy: t.Any) -> t.Any:
        return {**self.values, **self.hosts[host]}.get(name)


class Fleet:
    """Hosts with their stores and variables, and the answers of those that were lost or say something else."""

    def __init__(self, directory: str, *names: str, **hosts: dict[str, t.Any]) -> None:
        self.directory = directory
        self.hosts: dict[str, dict[str, t.Any]] = {**{name: {} for name in names}, **hosts}
        self.stores = {name: Store(os.path.join(directory, name)) for name in self.hosts}
        self.answers: dict[str, dict[str, t.Any]] = {}
        self.planner = Planner(t.cast("t.Any", None), check_mode=True, show_only=True)
        os.makedirs(os.path.join(directory, "build"))
        with open(os.path.join(directory, "build", "VERSION"), "w", encoding="utf-8") as file:
            file.write("2.0")

    def add(self, release: str, *names: str, good: bool = True) -> None:
        """Put a release on hosts, as staging leaves it, switch to it, and mark it good."""
        for name in names or self.hosts:
            store = self.stores[name]
            store.create()
            os.makedirs(store.release_path(release), exist_ok=True)
            store.save({"id": release, "sequence": store.next_sequence(), "state": "ready", "digest": release})
            switch.run({**SWITCH, "root": store.root, "release": release}, False)
            if good:
                mark_good(store, release, False)

    def plan(self, mode: str = "release", *, dry: bool = False, facts: dict[str, t.Any] | None = None, **variables: t.Any) -> dict[str, t.Any]:
        """Plan a rollout; what is known when it is refused is in *facts*."""
        values = {
            "app": "shop", "release": "2.0", "source": {"type": "directory", "path": os.path.join(self.directory, "build")},
            "state_dir": os.path.join(self.directory, "state"), **variables,
        }
        known = Variables({f"rollout_{name}": value for name, value in values.items()}, self.hosts)
        self.planner = Planner(t.cast("t.Any", known), check_mode=dry, show_only=False)
        facts = {} if facts is None else facts
        facts.update(self.planner.read(mode, targets=list(self.hosts), groups={"all": list(self.hosts)}, places=[self.directory]))
        surveys = {name: self.answers.get(name) or {"survey": info.survey(store, {})} for name, store in self.stores.items()}
        return self.planner.plan(facts, surveys=surveys, balancers=[])


@pytest.fixture
def fleet(tmp_path: t.Any) -> Fleet:
    made = Fleet(str(tmp_path), "web1", "web2", "web3", "web4")
    made.add("1.0")
    return made


def test_a_host_that_is_lost_counts_as_failed_where_nothing_is_left_to_roll(fleet: Fleet) -> None:
    """Or the finish would mark the release good and prune, without evidence of all hosts."""
    fleet.answers["web3"] = LOST
    assert fleet.plan("rollback", to="1.0", max_fail=1)["failed"] == ["web3"]
    assert fleet.plan("rollback", to="1.0", max_fail=1)["order"] == []


def undo_of(facts: dict[str, t.Any], *done: str, failed: str) -> dict[str, t.Any]:
    """Roll *done* in one batch, have *failed* fail after its switch, and return the facts for the undo."""
    conductor = Conductor(facts)
    for hosts in (list(done), [failed]):
        conductor.open_batch(hosts, undo=False)
        if hosts == [failed]:
            conductor.failed(failed, "Switch", {"msg": "not healthy"}, undo=False)
        after = conductor.close_batch(hosts, {host: {"finished": True} for host in hosts}, set(hosts), undo=False)
    return after


@pytest.mark.parametrize(("written", "serial"), [({}, [2, 2]), ({"undo_max_parallel": 1}, [1, 1, 1, 1]), ({"undo_max_parallel": "4"}, [2, 2])])
def test_an_undo_is_as_wide_as_the_user_says_within_what_may_be_out_at_once(fleet: Fleet, written: dict[str, t.Any], serial: list[int]) -> None:
    facts = fleet.plan(max_unavailable=2, **written)
    after = undo_of(facts, "web1", "web2", "web3", failed="web4")
    assert after["undo_hosts"] == ["web4", "web3", "web2", "web1"]
    assert after["undo_serial"] == serial


@pytest.mark.parametrize("to", [{}, {"to": "1.0"}])
@pytest.mark.parametrize("gone", ["the release", "half of it"])
def test_a_rollback_is_refused_where_one_host_does_not_hold_the_release_any_more(fleet: Fleet, to: dict[str, str], gone: str) -> None:
    fleet.add("2.0")
    assert fleet.plan("rollback", **to)["order"] == ["web1", "web2", "web3", "web4"]
    store = fleet.stores["web3"]
    if gone == "the release":
        # Its record alone would not make it usable, nor would it be missed: without one, it is the release of another tool.
        shutil.rmtree(store.release_path("1.0"))
    else:
        store.save({**(store.record("1.0") or {}), "state": "staged"})
    with pytest.raises(SeamlessError) as caught:
        fleet.plan("rollback", **to)
    assert str(caught.value).splitlines() == [
        "The rollout was refused, nothing was touched:", "- web3 can't switch to 1.0: the release isn't there. Name one that all hosts have.",
    ]
    fleet.answers["web3"] = LOST
    facts = fleet.plan("rollback", max_fail=1, **to)
    assert (facts["order"], facts["release"]) == (["web1", "web2", "web4"], "1.0"), "a host that is lost holds the others back no more than elsewhere"


def test_the_plan_says_who_is_left_alone_and_why_and_what_was_rounded(fleet: Fleet) -> None:
    fleet.add("0.9", "web1", "web3", "web4")
    fleet.plan("rollback", to="1.0", dry=True, max_unavailable="10%")
    text, public = fleet.planner.text, fleet.planner.public
    assert re.search(r"^  left alone:\n    web2  runs 1\.0 already, healthy$", text, re.MULTILINE), text
    assert "  note: rollout_max_unavailable 10% of 4 is less than one host: 1 host at a time (25 %)." in text.splitlines(), text
    assert (public["skipped"], public["max_unavailable"]) == ({"web2": "runs 1.0 already, healthy"}, 1)
    assert [name for name, entry in public["hosts"].items() if entry["state"] == "skipped"] == ["web2"]


def test_the_plan_estimates_from_what_was_recorded(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet.plan(dry=True)
    assert fleet.planner.public["estimate"] is None and "  estimated time: no history yet" in fleet.planner.text.splitlines()
    now = [1_800_000_000.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    facts = fleet.plan(canary=0, batch=[1], max_unavailable=1)
    conductor = Conductor(facts)
    for host in facts["order"]:
        conductor.open_batch([host], undo=False)
        now[0] += 12
        conductor.close_batch([host], {host: {"finished": True}}, {host}, undo=False)
    assert conductor.finish({})["state"] == "succeeded"
    fleet.plan(canary=0, batch=[2], max_unavailable=2, dry=True, release="3.0")
    assert fleet.planner.public["estimate"] == {"seconds": 24.0, "host_seconds": 12.0, "rollouts": 1}
    assert "  estimated time: about 24 s (12 s a host, as in the last rollout)" in fleet.planner.text.splitlines(), fleet.planner.text


def test_the_plan_says_on_which_hosts_there_is_no_way_back(fleet: Fleet, tmp_path: t.Any) -> None:
    new = fleet.stores["web4"]
    shutil.rmtree(new.root)
    fleet.plan(dry=True)
    assert "  note: no earlier release on web4: a failure takes nothing back there." in fleet.planner.text.splitlines()
    assert {name: entry["no_way_back"] for name, entry in fleet.planner.public["hosts"].items()} == {
        "web1": "", "web2": "", "web3": "", "web4": "there is no earlier release on this host",
    }
    fleet.plan(dry=True, on_failure="stop")
    assert "no earlier release" not in fleet.planner.text and fleet.planner.public["hosts"]["web4"]["no_way_back"]
    for store in fleet.stores.values():
        shutil.rmtree(store.root, ignore_errors=True)
    fleet.plan(dry=True)
    assert "  note: no earlier release on any host: a failure takes nothing back there." in fleet.planner.text.splitlines()


def test_where_nothing_can_go_back_a_failure_says_so_and_undoes_nothing(fleet: Fleet) -> None:
    for store in fleet.stores.values():
        shutil.rmtree(store.root)
    after = undo_of(fleet.plan(max_unavailable=2), "web1", failed="web2")
    assert after["undo_hosts"] == []
    why = "web2: Switch: not healthy. Not undone: web1: there is no earlier release on this host; web2: there is no earlier release on this host"
    assert (Ledger(after["state_dir"]).rollout(after["id"]) or {})["halted"] == why


def test_the_holder_of_a_lock_is_in_the_plan_as_data(fleet: Fleet) -> None:
    lock.take(fleet.stores["web2"], LOCK, False)
    holder = {"id": "other", "owner": "ann@desk", "reason": "INC-42", "release": "", "ttl": 600, "expired": False}
    with pytest.raises(SeamlessError) as refused:
        lock.take(fleet.stores["web2"], {**LOCK, "lock_id": "mine", "policy": "wait", "wait": 0}, True)
    fleet.answers["web2"] = {"failed": True, "msg": str(refused.value), **refused.value.details}
    facts: dict[str, t.Any] = {}
    with pytest.raises(SeamlessError, match="is locked by rollout other of ann@desk"):
        fleet.plan(dry=True, facts=facts)
    public = refusal_public(facts, "no")
    assert public["can_run"] is False
    assert {host: {key: found[key] for key in holder} for host, found in public["locks"].items()} == {"web2": holder}
    # One that has run out is taken over: the plan goes on, and says whose it was.
    del fleet.answers["web2"]
    fleet.plan(dry=True)
    assert (list(fleet.planner.public["locks"]), fleet.planner.public["can_run"]) == (["web2"], True)
    assert preflight.locks_of_others({"web2": {"survey": info.survey(fleet.stores["web2"], {})}}, "other") == {}, "ours is none of another"


def test_who_settles_a_dead_rollout_does_not_finish_it_before_what_comes_once_is_surely_done(fleet: Fleet) -> None:
    with open(os.path.join(fleet.directory, "before.yml"), "w", encoding="utf-8") as file:
        file.write("[]\n")
    fleet.add("2.0")
    fleet.add("1.0")
    finish = {"recover": "finish", "to": "2.0"}
    assert fleet.plan("recover", **finish)["order"] == ["web1", "web2", "web3", "web4"]
    with pytest.raises(SeamlessError, match=r"no host runs 2\.0 yet, so what comes once before the hosts .* may not be done"):
        fleet.plan("recover", once_before=["before.yml"], **finish)
    fleet.add("2.0", "web1", good=False)
    assert fleet.plan("recover", once_before=["before.yml"], **finish)["order"] == ["web2", "web3", "web4"]


def test_what_comes_once_before_the_hosts_is_made_up_for_where_somebody_settled_them_meanwhile(fleet: Fleet) -> None:
    with open(os.path.join(fleet.directory, "before.yml"), "w", encoding="utf-8") as file:
        file.write("[]\n")
    died = fleet.plan(once_before=["before.yml"])
    ledger = Ledger(died["state_dir"])
    with ledger._open() as connection:
        connection.execute("UPDATE rollouts SET process_start='another boot'")
    fleet.add("2.0")
    # The content of a release that this rollout staged is known by its digest.
    for store in fleet.stores.values():
        store.save({**(store.record("2.0") or {}), "digest": died["resolved"]["digest"]})
    again = fleet.plan(once_before=["before.yml"])
    assert (again["id"], again["order"], again["once_before_hosts"]) == (died["id"], [], ["web1", "web2", "web3"])
    conductor = Conductor(again)
    assert conductor.open_once("before", "web1") == again["once"]["before"]
    conductor.did_once("before", "web1", again["once"]["before"][0])
    assert conductor.open_once("before", "web1") == []
    conductor.finish({})
    assert fleet.plan(once_before=["before.yml"])["once_before_hosts"] == []


def test_each_host_is_checked_by_its_own_health_in_an_update(tmp_path: t.Any) -> None:
    """As with tiers, of which only one has something to ask."""
    os.makedirs(tmp_path / "roles" / "kernel")
    fleet = Fleet(str(tmp_path), web1={"rollout_health": [{"url": "http://127.0.0.1/"}]}, job1={"rollout_health": []})
    for first in ("web1", "job1"):
        fleet.hosts = {first: fleet.hosts[first], **fleet.hosts}
        facts = fleet.plan("update", update_role="kernel", source=None, release="")
        steps = {host: [step["file"] for step in facts["hosts"][host]["steps"]] for host in fleet.hosts}
        assert "update_health.yml" in steps["web1"] and "update_health.yml" not in steps["job1"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- name: Warm up\n  ansible.builtin.debug:\n   msg: [", "Ansible can't read"),
        ("- name: Warm up\n  nobody.knows.this:\n    a: 1\n", "nobody.knows.this"),
        ("- name: All\n  block:\n    - name: Warm up\n      nobody.knows.this: {}\n", "nobody.knows.this"),
        ("name: Warm up\n", "holds a list of tasks"),
        ("- just text\n", "is no task"),
    ],
)
def test_a_hook_that_ansible_can_not_read_is_refused_before_a_host_is_out(fleet: Fleet, text: str, said: str) -> None:
    with open(os.path.join(fleet.directory, "warm.yml"), "w", encoding="utf-8") as file:
        file.write(text)
    with pytest.raises(SeamlessError, match=re.escape("rollout_hooks.after_switch is 'warm.yml', which Ansible can't read")) as refused:
        fleet.plan(hooks={"after_switch": ["warm.yml"]})
    assert said in str(refused.value)


def test_a_hook_of_every_form_is_read(fleet: Fleet) -> None:
    with open(os.path.join(fleet.directory, "warm.yml"), "w", encoding="utf-8") as file:
        file.write(
            "- name: Say it\n  debug: msg=hello\n- action: command true\n- local_action: command true\n"
            "- include_tasks: more.yml\n- name: All\n  block:\n    - ansible.builtin.meta: flush_handlers\n  rescue:\n    - import_role: {name: x}\n"
            "- set_fact:\n    a: 1\n  when: true\n  with_items: [1]\n"
        )
    assert fleet.plan(hooks={"after_switch": ["warm.yml"]})["order"]


@pytest.mark.parametrize(("state", "unproven"), [("failed", True), ("bad", True), ("good", False)])
def test_a_host_that_an_earlier_run_left_out_goes_back_unchanged_only_if_that_did_not_change_it(state: str, unproven: bool) -> None:
    survey = {"releases": [{"id": "2.0", "state": state}]}
    assert _plan_facts._is_unproven(survey, "release", "2.0", "3.0") is unproven
    assert _plan_facts._is_unproven(survey, "release", "2.0", "2.0") and _plan_facts._is_unproven(survey, "update", "2.0", None)
    assert not _plan_facts._is_unproven({}, "release", None, None)
