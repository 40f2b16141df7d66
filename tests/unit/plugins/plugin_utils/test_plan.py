# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import re
import subprocess
import sys
import textwrap
import typing as t

import pytest
import yaml
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.plugin_utils import _blockers, _traits
from ansible_collections.seamless.rollout.plugins.plugin_utils import _pools as pools
from ansible_collections.seamless.rollout.plugins.plugin_utils import _preflight as preflight
from ansible_collections.seamless.rollout.plugins.plugin_utils._amounts import at_least_one, budget
from ansible_collections.seamless.rollout.plugins.plugin_utils._history import read_history
from ansible_collections.seamless.rollout.plugins.plugin_utils._ledger import Ledger
from ansible_collections.seamless.rollout.plugins.plugin_utils._plan import DEFAULT_BATCH, HostView, Plan, _Sizes, estimate, make_plan
from ansible_collections.seamless.rollout.plugins.plugin_utils._settings import Settings, read_settings
from ansible_collections.seamless.rollout.plugins.plugin_utils._templates import fingerprint, is_static
from hypothesis import given
from hypothesis import strategies as st


def plan(*hosts: HostView, **options: t.Any) -> Plan:
    return make_plan(hosts, **{"batch": None, "canary": 1, "max_unavailable": "25%", **options})


def zone(name: str, number: int, **options: t.Any) -> list[HostView]:
    return [HostView(f"{name}{n}", zone=name, **options) for n in range(1, number + 1)]


def test_zones_are_rolled_one_after_another_and_the_growth_goes_on_in_the_next() -> None:
    made = plan(*zone("b", 8), *zone("a", 8), canary=0)
    assert made.serial == [1, 2, 4, 1, 4, 4]
    assert made.stages == [[f"b{n}" for n in range(1, 9)], [f"a{n}" for n in range(1, 9)]]
    assert made.caps["b8"] == 4


def test_a_canary_counts_as_the_first_step_of_the_growth_and_comes_from_the_first_zone() -> None:
    made = plan(*zone("b", 8), *zone("a", 8), zones=["a", "b"])
    assert made.canary == ["a1"]
    assert [len(stage) for stage in made.stages] == [1, 7, 8]
    assert made.serial == [1, 2, 4, 1, 4, 4]


def test_a_batch_that_ended_for_want_of_hosts_does_not_double_the_next() -> None:
    assert plan(*zone("a", 2), *zone("b", 2), *zone("c", 8), canary=0, max_unavailable="100%").serial == [1, 1, 2, 4, 4]


def test_a_list_of_sizes_is_read_over_all_zones_without_starting_again() -> None:
    assert plan(*zone("a", 4), *zone("b", 8), canary=0, batch=[1, 2, 4], max_unavailable=4).serial == [1, 2, 1, 4, 4]


def test_hosts_without_a_zone_are_named_where_others_have_one() -> None:
    with pytest.raises(SeamlessError, match="zone is not set for x, y, but other hosts have one"):
        plan(*zone("a", 2), HostView("x"), HostView("y"))
    with pytest.raises(SeamlessError, match="b1 is in 'b'"):
        plan(*zone("a", 2), *zone("b", 1), zones=["a"])


def test_a_floor_in_every_zone_holds_the_batches_and_says_so() -> None:
    made = plan(*zone("a", 4), *zone("b", 8), canary=0, batch=["50%"], max_unavailable="100%", zone_min_available="51%")
    assert made.serial == [1, 1, 1, 1, 3, 3, 2]
    assert (made.slots["a1"], made.slots["b1"]) == (1, 3)
    assert "held to 1 by rollout_zone_min_available" in " ".join(made.notes)


def test_hosts_that_are_left_alone_have_the_floor_of_their_zone_all_the_same() -> None:
    """An undo may come to them: a run before may have updated them."""
    made = plan(*zone("a", 4), *zone("b", 4, skip="has it"), zone_min_available=3, max_unavailable=3)
    assert set(made.slots.values()) == {1} and len(made.slots) == 8


def test_a_floor_that_leaves_a_zone_nothing_names_what_would_do() -> None:
    with pytest.raises(SeamlessError, match=r"zone a 3 of 3 would have to stay up.*Use at most 2 \(66%\), for zone a"):
        plan(*zone("a", 3), *zone("b", 8), zone_min_available="80%")
    with pytest.raises(SeamlessError, match="no host has a zone"):
        plan(HostView("x"), zone_min_available=1)


def test_one_canary_in_each_zone_one_zone_at_a_time() -> None:
    made = plan(*zone("a", 3), *zone("b", 3), canary="per_zone", max_unavailable=2)
    assert made.canary == ["a1", "b1"]
    assert made.stages[:2] == [["a1"], ["b1"]]
    with pytest.raises(SeamlessError, match="no host has a zone"):
        plan(HostView("x"), canary="per_zone")


def test_a_named_canary_that_is_out_of_service_is_replaced_and_a_late_one_refused() -> None:
    hosts = [HostView("x", serving=False), HostView("y"), HostView("z", late=True), HostView("w")]
    made = plan(*hosts, canary=["x"], max_unavailable=2)
    assert made.canary == ["y"]
    assert "rollout_canary names x, out of service now: y is the canary instead." in made.notes
    with pytest.raises(SeamlessError, match="rollout_canary names z, where rollout_late is true"):
        plan(*hosts, canary=["z"])


def test_late_hosts_go_last_in_a_stage_of_their_own() -> None:
    made = plan(HostView("cron", late=True), *(HostView(f"web{n}") for n in range(1, 6)), max_unavailable=2)
    assert made.canary == ["web1"]
    assert made.stages == [["web1"], ["web2", "web3", "web4", "web5"], ["cron"]]


def test_a_late_host_that_uses_up_the_budget_by_being_broken_goes_first() -> None:
    made = plan(HostView("cron", late=True, serving=False), HostView("a"), HostView("b"), max_unavailable=1)
    assert made.order == ["cron", "a", "b"]


def test_weights_count_for_the_budget_and_a_heavy_host_goes_alone() -> None:
    hosts = [HostView("big", weight=6), HostView("a", weight=2), HostView("b", weight=2), HostView("c"), HostView("d")]
    made = plan(*hosts, canary=0, batch=[4], max_unavailable=4)
    assert made.batches == [["big"], ["a", "b"], ["c", "d"]]
    assert "big weighs 6, and 4 may be out of service at once: it goes alone." in made.notes
    assert plan(*hosts, canary=0, batch=[4], max_unavailable="50%").batches == [["big"], ["a", "b", "c", "d"]]


def test_tiers_are_rolled_like_fleets_of_their_own() -> None:
    hosts = [HostView(f"web{n}", tier="web") for n in range(1, 9)] + [HostView(f"job{n}", tier="workers") for n in range(1, 5)]
    made = plan(*hosts, tiers=["workers", "web"])
    assert made.canary == ["job1", "web1"]
    assert [len(stage) for stage in made.stages] == [1, 3, 1, 7]
    assert made.serial == [1, 1, 1, 1, 1, 2, 2, 2, 1]
    assert (made.max_unavailable, made.max_parallel, made.slots["web1"]) == (1, 2, 2)


def old_plan(hosts: t.Sequence[HostView], batch: t.Sequence[t.Any], canary: int, max_unavailable: t.Any, max_parallel: int | None) -> list[list[str]]:
    """The plan as it was before there were zones, tiers and weights."""

    def cut(names: list[str], sizes: t.Sequence[t.Any]) -> t.Iterator[list[str]]:
        position = 0
        for index in itertools.count():
            if position >= len(names):
                return
            size = min(at_least_one(sizes[min(index, len(sizes) - 1)], len(hosts), "", []), cap)
            yield names[position:position + size]
            position += size

    allowed = budget(max_unavailable, None, len(hosts), [])
    cap = min(allowed, max_parallel or allowed)
    pending = [host for host in hosts if not host.skip and host.reachable]
    canaries = [host.name for host in pending if host.serving][:canary]
    broken = [host.name for host in pending if not host.serving]
    rest = [host.name for host in pending if host.serving and host.name not in canaries]
    batches: list[list[str]] = []
    if canaries and broken and len([host for host in hosts if not host.serving or not host.reachable]) >= allowed:
        batches += cut(broken, batch)
        broken = []
    batches += cut(canaries, [len(canaries)])
    after = batch[1:] if canaries and len(batch) > 1 and str(batch[0]) == "1" else batch
    return [*batches, *cut(broken + rest, after)]


AMOUNTS = st.one_of(st.integers(min_value=1, max_value=40), st.integers(min_value=1, max_value=100).map("{}%".format))
STATES = st.builds(lambda skip, up, seen: {"skip": "has it" if skip else None, "serving": up and seen, "reachable": seen}, *([st.booleans()] * 3))
LIMITS = {
    "batch": st.one_of(st.none(), st.lists(AMOUNTS, min_size=1, max_size=4)),
    "canary": st.integers(min_value=0, max_value=5),
    "max_unavailable": AMOUNTS,
    "max_parallel": st.one_of(st.none(), st.integers(min_value=1, max_value=10)),
}


@given(states=st.lists(STATES, min_size=1, max_size=25), limits=st.fixed_dictionaries(LIMITS))
def test_without_the_new_variables_the_plan_is_what_it_was(states: list[dict[str, t.Any]], limits: dict[str, t.Any]) -> None:
    hosts = [HostView(f"web{number}", **state) for number, state in enumerate(states)]
    assert make_plan(hosts, **limits).batches == old_plan(hosts, **{**limits, "batch": limits["batch"] or DEFAULT_BATCH})


@st.composite
def fleets(draw: t.Any) -> tuple[list[HostView], dict[str, t.Any]]:
    tiers = draw(st.sampled_from([[], ["t1"], ["t1", "t2"], ["t3", "t1", "t2"]]))
    zones = draw(st.sampled_from([[""], ["a"], ["a", "b"], ["a", "b", "c"]]))
    hosts = [
        HostView(
            f"h{number}", **state, zone=draw(st.sampled_from(zones)), weight=draw(st.sampled_from([1, 1, 2, 5])), late=draw(st.booleans()),
            tier=draw(st.sampled_from(tiers or [""])),
        )
        for number, state in enumerate(draw(st.lists(STATES, min_size=1, max_size=25)))
    ]
    limits = draw(st.fixed_dictionaries(LIMITS))
    if zones != [""]:
        limits["canary"] = draw(st.one_of(LIMITS["canary"], st.just("per_zone")))
    usable = [host.name for host in hosts if not host.late]
    if usable and draw(st.booleans()):
        limits["canary"] = draw(st.lists(st.sampled_from(usable), max_size=3, unique=True))
    return hosts, {**limits, "tiers": tiers}


@given(fleets())
def test_every_plan_keeps_its_promises(fleet: tuple[list[HostView], dict[str, t.Any]]) -> None:
    hosts, limits = fleet
    made = make_plan(hosts, **limits)
    views = {host.name: host for host in hosts}
    pending = [host.name for host in hosts if host.reachable and not host.skip]
    assert sorted(made.order) == sorted(pending)
    assert [name for stage in made.stages for name in stage] == [name for batch in made.batches for name in batch] == made.order
    for group in [*made.stages, *made.batches]:
        assert group and len({(views[name].tier, views[name].zone) for name in group}) == 1
    ends = set(itertools.accumulate(len(stage) for stage in made.stages))
    assert ends <= set(itertools.accumulate(made.serial)), "a batch spans two stages"
    for batch in made.batches:
        assert len(batch) == 1 or sum(views[name].weight for name in batch) <= made.slots[batch[0]]
        assert all(len(batch) <= made.caps[name] <= made.max_parallel for name in batch)
    assert all(views[name].serving and not views[name].late and name in pending for name in made.canary)
    assert list(dict.fromkeys(views[name].tier for name in made.order)) == [
        tier for tier in limits["tiers"] or [""] if any(views[name].tier == tier for name in pending)
    ]


def test_sizes_never_shrink_below_one() -> None:
    sizes = _Sizes(None, 10)
    sizes.limit(0)
    assert sizes.now([]) == (1, None)


def test_an_estimate_counts_batches_or_slots() -> None:
    made = plan(*(HostView(f"h{n}") for n in range(9)), canary=1, batch=[4], max_unavailable=4)
    assert made.serial == [1, 4, 4]
    assert estimate(made, seconds=10, bake={"h0": 5}, pace="batch") == 35
    assert estimate(made, seconds=10, bake={"h0": 5}, pace="window") == 35
    assert estimate(made, seconds=10, bake={"h1": 10}, pace="batch") == 40
    assert estimate(made, seconds=10, bake={"h1": 10}, pace="window") == 40
    ragged = dataclasses.replace(made, stages=[made.order], caps=dict.fromkeys(made.order, 4))
    assert estimate(ragged, seconds=10, bake={"h0": 20}, pace="window") == 30


def record(ledger: Ledger, rollout: str, seconds: float, bake: float, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    columns = {"app": "shop", "release": "1", "mode": "release", "state": "planned", "reason": "", "owner": "", "controller": "", "pid": 1}
    ledger.begin({"id": rollout, **columns, "process_start": "", "started_at": 1000.0})
    entry = {"state": "pending", "from": None, "target": "1", "detail": "", "bake_seconds": bake}
    ledger.save_plan(rollout, {"release": "1", "hosts": {"web1": entry, "web2": entry}})
    now[0] += 7
    for host in ("web1", "web2"):
        ledger.update_host(rollout, host, state="in_flight")
        now[0] += seconds + bake
        ledger.update_host(rollout, host, state="done")
    now[0] += 3
    ledger.set_state(rollout, "succeeded")


def test_the_history_is_the_median_of_what_succeeded_without_its_bake(tmp_path: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_history(str(tmp_path), "release") is None
    ledger = Ledger(str(tmp_path))
    assert read_history(str(tmp_path), "release") is None
    for number, (seconds, bake) in enumerate([(10, 0), (12, 30), (40, 0)]):
        record(ledger, f"r{number}", seconds, bake, monkeypatch)
    assert read_history(str(tmp_path), "release") == (3, 12, 10)
    assert read_history(str(tmp_path), "rollback") is None


def settings(**changes: t.Any) -> Settings:
    values = {"app": "shop", "release": "1", "source": {"type": "directory", "path": "."}, **changes}
    return read_settings({f"rollout_{name}": value for name, value in values.items()}, "release")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"canary": "per_zon"}, "Did you mean per_zone"),
        ({"canary": "101%"}, "above 100%"),
        ({"weight": 0}, "rollout_weight is 0: use a whole number of at least 1"),
        ({"late": "perhaps"}, "use true or false"),
        ({"zones": "a"}, "use a list of different names"),
        ({"tiers": ["a", "a"]}, "use a list of different names"),
        ({"zone_min_available": "2.5"}, "rollout_zone_min_available is '2.5'"),
        ({"first_zone_bake_seconds": "long"}, "rollout_first_zone_bake_seconds is 'long'"),
        ({"override": True}, "rollout_override is True: use the reason"),
        ({"plan_format": "yaml"}, "use one of text, json"),
        ({"blockers": "x"}, "rollout_blockers is 'x': use a list"),
        ({"blockers": [{"fil": "/x"}]}, "rollout_blockers[0] has nothing to ask: give exactly one of url, file, command"),
        ({"blockers": [{"file": "/x", "command": "y"}]}, "has file and command"),
        ({"blockers": [{"file": "/x", "statsu": 200}]}, "'statsu', which means nothing for file"),
        ({"blockers": [{"url": "http://x/", "statsu": 200}]}, "Did you mean status"),
        ({"blockers": [{"url": "x"}]}, "rollout_blockers[0]: url is 'x'"),
        ({"blockers": [{"url": "http://x/", "status": 999}]}, "status is 999"),
        ({"blockers": [{"command": "true", "timeout": 0}]}, "rollout_blockers[0].timeout is 0"),
        ({"windows": [{"kind": "allows"}]}, "rollout_windows[0]: kind is 'allows'"),
        ({"windws": []}, "Did you mean rollout_windows"),
    ],
)
def test_bad_variables_of_the_plan_are_refused(changes: dict[str, t.Any], message: str) -> None:
    with pytest.raises(SeamlessError) as caught:
        settings(**changes)
    assert message in str(caught.value)


def traits(**zones: str) -> dict[str, dict[str, t.Any]]:
    return {host: _traits.host_traits(settings(bake_seconds=30), zone) for host, zone in zones.items()}


def test_the_first_zone_and_the_canary_are_watched_longer() -> None:
    hosts = traits(a1="a", a2="a", b1="b", b2="b")
    made = plan(*(HostView(host, zone=entry["zone"]) for host, entry in hosts.items()), canary=["b1"])
    assert _traits.bakes(hosts, settings(), made) == {"a1": 30, "a2": 30, "b1": 30, "b2": 30}
    assert _traits.bakes(hosts, settings(first_zone_bake_seconds=300), made) == {"a1": 300, "a2": 300, "b1": 300, "b2": 30}
    assert _traits.bakes(hosts, settings(first_zone_bake_seconds=5), made) == {"a1": 5, "a2": 5, "b1": 30, "b2": 30}


def test_the_floor_of_a_balancer_that_counts_members_lets_a_batch_of_light_hosts_go() -> None:
    hosts = traits(**dict.fromkeys(("big", "a", "b", "c", "d"), ""))
    assert _traits.most_at_once(hosts, settings(max_unavailable="40%")) == {"": None}
    hosts["big"]["weight"] = 6
    assert _traits.most_at_once(hosts, settings(max_unavailable="40%")) == {"": 4}
    views = [HostView(host, weight=entry["weight"]) for host, entry in hosts.items()]
    assert max(plan(*views, canary=0, batch=[4], max_unavailable="40%").serial) == 4
    members = [{"name": host, "address": None, "admin": "ready", "health": "up"} for host in hosts]
    call = {"delegate": "lb1", "driver": "haproxy", "member": "a", "named": False}
    found = preflight.judge_rotation(
        "a", [call], {pools.balancer_key(call): {"pools": [{"backend": "shop", "total": 5, "members": members}]}},
        app="shop", address=None, max_unavailable="40%", min_available=None, findings=preflight.Findings(), most=4,
    )
    assert found.calls[0]["min_available"] == 1


def test_a_freeze_holds_up_everything_but_a_rollback() -> None:
    freeze = [{"kind": "deny", "name": "the freeze"}]

    def gate(mode: str, *, dry: bool, **changes: t.Any) -> dict[str, t.Any]:
        given = settings(windows=freeze, **changes)
        return _blockers.gate(mode, given.windows, given.blockers, given.override, dry=dry)

    with pytest.raises(SeamlessError, match="nothing was touched:\n- rollout_windows: closed by the freeze"):
        gate("promote", dry=False)
    assert gate("promote", dry=True)["closed"] and gate("promote", dry=False, override="INC-42")["closed"]
    assert gate("rollback", dry=False) == {"windows": [], "blockers": [], "override": "", "closed": [], "windows_now": ""}


def test_each_host_is_in_exactly_one_tier() -> None:
    hosts = traits(a="", b="", c="")
    groups = {"workers": ["a", "b"], "web": ["b"]}
    assert _traits.sort_into_tiers(hosts, [], groups) == []
    problems = _traits.sort_into_tiers(hosts, ["workers", "web"], groups)
    assert [problem.split(". ")[0] for problem in problems] == ["rollout_tiers: b is in workers and web", "rollout_tiers: c is in none of workers, web"]
    assert "b, c are in none of web2" in _traits.sort_into_tiers(traits(b="", c=""), ["web2"], {"web2": []})[0]
    assert "Did you mean workers?" in _traits.sort_into_tiers(hosts, ["worker"], groups)[0]


def test_a_zone_is_a_name() -> None:
    assert traits(a="eu-1")["a"]["zone"] == "eu-1"
    with pytest.raises(SeamlessError, match="zone is"):
        _traits.host_traits(settings(), {"name": "a"})


@pytest.mark.parametrize(
    ("value", "static", "known"),
    [
        ({"a": [1, "x", None]}, True, True),
        ("{{ name }}", False, True),
        ("{{ lookup('ansible.builtin.env', 'X') or 'app' }}", False, True),
        ([{"url": "http://x/{{ name | default('y') }}"}], False, True),
        ("{{ lookup('pipe', 'hostname') }}", False, False),
        ("{{ missing }}", False, False),
        ("{{ 60 | random }}", False, False),
        ("{{ hostvars[name].x }}", False, False),
        ("{% for x in name %}{{ x }}{% endfor %}", False, False),
        ("{{ chain }}", False, True),
        ("#jinja2: variable_start_string: '[%'\nx", False, False),
    ],
)
def test_only_templates_whose_sources_are_known_are_shared_between_hosts(value: t.Any, static: bool, known: bool) -> None:
    variables = {"name": "a", "chain": "{{ name }}", "hostvars": object()}
    assert is_static(value) is static
    assert (fingerprint(value, variables) is not None) is known
    if known and not static and "env" not in str(value):
        assert fingerprint(value, variables) != fingerprint(value, {**variables, "name": "b"})
        assert fingerprint(value, variables) != fingerprint(value, {**variables, "name": 1})


REPO = os.path.abspath(os.path.join(__file__, *[os.pardir] * 5))
with open(os.path.join(REPO, "docs", "docsite", "rst", "plan.rst"), encoding="utf-8") as guide:
    BLOCKS = [textwrap.dedent(text) for text in re.findall(r"^\.\. code-block:: \w+\n\n((?:   .*\n|\n)+)", guide.read(), re.MULTILINE)]


class Fleet:
    """The guide's example: six hosts that are all this machine, which has no release yet."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.inventory: dict[str, t.Any] = yaml.safe_load(next(text for text in BLOCKS if text.startswith("app:")))
        self.blocker = os.path.join(directory, "no-rollout")
        self.vars = self.inventory["app"]["vars"]
        self.vars.update(
            ansible_connection="local", ansible_python_interpreter=sys.executable, rollout_root=os.path.join(directory, "shop"), rollout_services=[],
        )
        self.vars["rollout_blockers"][0]["file"] = self.blocker
        os.makedirs(os.path.join(directory, "build", "shop"))
        with open(os.path.join(directory, "build", "shop", "VERSION"), "w", encoding="utf-8") as file:
            file.write("1.2.0")

    def plan(self, playbook: str = "plan", **variables: t.Any) -> tuple[int, str]:
        with open(os.path.join(self.directory, "inventory.yml"), "w", encoding="utf-8") as file:
            yaml.safe_dump(self.inventory, file)
        given = {"rollout_release": "1.2.0", **{f"rollout_{name}": value for name, value in variables.items()}}
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE")},
            "ANSIBLE_COLLECTIONS_PATH": os.path.join(REPO, "build", "tree"), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_LOCALHOST_WARNING": "0",
            "XDG_STATE_HOME": os.path.join(self.directory, "state"), "HOME": self.directory, "ANSIBLE_FORKS": "6",
        }
        done = subprocess.run(
            ["ansible-playbook", "-i", "inventory.yml", f"seamless.rollout.{playbook}", "-e", json.dumps(given)],
            cwd=self.directory, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )
        return done.returncode, done.stdout


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    return Fleet(str(tmp_path_factory.mktemp("guide")))


OPEN: list[t.Any] = [{"kind": "allow"}]
CLOSED = [{"kind": "deny", "name": "the freeze"}]


def test_the_example_of_the_guide_is_planned_as_the_guide_says(fleet: Fleet) -> None:
    code, text = fleet.plan(windows=OPEN, override="just in case")
    shown = textwrap.indent(next(block for block in BLOCKS if block.startswith("canary")).strip(), "  ")
    assert shown in text and code == 0, text
    watched = "watched in rotation: 5 min, then 30 s, then 5 min"
    for line in ("at most 2 of 7 (weight) out of service", watched, "estimated time: no history yet", "none of 1 forbids", "(just in case): nothing forbids"):
        assert line in text, text


def test_a_plan_as_json_says_that_it_could_not_run_now_and_so_does_the_exit_code(fleet: Fleet) -> None:
    code, text = fleet.plan(windows=CLOSED, plan_format="json")
    found = re.search(r"^\{$.*?^\}$", text, re.MULTILINE | re.DOTALL)
    assert code != 0 and found, text
    data = json.loads(found.group())
    assert data["can_run"] is False and "closed by the freeze" in data["refused"][0]
    assert data["stages"] == [["web1"], ["web2"], ["web4", "web5", "web6"], ["web3"]]
    assert data["hosts"]["web2"] == {**data["hosts"]["web2"], "zone": "east", "weight": 2, "step": 1, "cap": 2, "bake_seconds": 300}
    code, text = fleet.plan(windows=CLOSED, plan_format="json", override="INC-42")
    found = re.search(r"^\{$.*?^\}$", text, re.MULTILINE | re.DOTALL)
    assert code == 0 and found and json.loads(found.group())["override"] == "INC-42", text


def test_a_blocker_refuses_a_rollout_before_anything_is_touched(fleet: Fleet) -> None:
    with open(fleet.blocker, "w", encoding="utf-8") as file:
        file.write("the database is slow\n")
    try:
        code, text = fleet.plan(playbook="rollout", windows=OPEN)
    finally:
        os.unlink(fleet.blocker)
    plain = re.sub(r"\s+", " ", text)
    assert code != 0 and "the incident file forbids a rollout: the database is slow" in plain and "set rollout_override to the reason" in plain, text
    assert "Read every host" not in text and not os.path.exists(os.path.join(fleet.directory, "shop"))


@pytest.mark.parametrize(
    ("host", "changes", "message"),
    [
        ("web5", {"zone": None}, "zone is not set for web5, but other hosts have one (east, west)"),
        ("web5", {"zone": "west", "rollout_weight": 0}, "web5: rollout_weight is 0"),
    ],
)
def test_what_is_wrong_with_one_host_names_it(fleet: Fleet, host: str, changes: dict[str, t.Any], message: str) -> None:
    kept = fleet.inventory["app"]["hosts"][host]
    fleet.inventory["app"]["hosts"][host] = changes
    try:
        code, text = fleet.plan(windows=OPEN)
    finally:
        fleet.inventory["app"]["hosts"][host] = kept
    assert code != 0 and message in re.sub(r"\s+", " ", text), text


def test_hosts_that_are_out_of_some_pools_come_back_in_an_order_that_works() -> None:
    """What an undo left that lost a balancer: web2 and web3 are out on lb1, web1 on lb2, and two of four have to stay up on each."""
    pools = {"web1": (True, False), "web2": (False, True), "web3": (False, True), "web4": (True, True)}
    hosts = [HostView(name, serving=all(states), pools=dict(zip(("lb1", "lb2"), states))) for name, states in pools.items()]
    made = make_plan(hosts, batch=[1, 2], canary=1, max_unavailable=2, room={"lb1": 0, "lb2": 1})
    assert made.batches == [["web2"], ["web1"], ["web3"], ["web4"]]
    assert made.stages[:3] == [["web2"], ["web1"], ["web3"]]


def test_hosts_on_an_older_release_go_first_in_their_zone_and_are_canaries_only_when_named() -> None:
    hosts = [HostView("web1", outdated=True), HostView("web2"), HostView("web3"), HostView("web4", outdated=True), HostView("web5")]
    made = plan(*hosts, max_unavailable=1)
    assert made.canary == ["web2"]
    assert made.order == ["web2", "web1", "web4", "web3", "web5"]
    assert plan(*hosts, canary=["web4"]).order[0] == "web4"
    zoned = [HostView("a1", zone="a", outdated=True), HostView("a2", zone="a"), HostView("b1", zone="b", outdated=True)]
    assert plan(*zoned, canary="per_zone").canary == ["a2", "b1"]


def test_an_older_release_is_the_one_that_was_staged_first_on_any_host() -> None:
    def survey(current: str | None, **created: str) -> dict[str, t.Any]:
        return {"current": {"release": current}, "releases": [{"id": name, "created_at": when} for name, when in created.items()]}

    surveys = {
        "web1": survey("a", a="2026-01-01T00:00:00Z"),
        # Staged again later, on a host that was rebuilt: still the older one.
        "web2": survey("a", a="2026-03-01T00:00:00Z", b="2026-02-01T00:00:00Z"),
        "web3": survey("b", a="2026-01-01T00:00:00Z", b="2026-02-01T00:00:00Z"),
        "new": survey(None),
        "adopted": survey("elsewhere"),
    }
    assert preflight.outdated(surveys) == {"web1", "web2"}
    assert preflight.outdated({"web1": surveys["web1"]}) == set()
