# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import concurrent.futures
import json
import multiprocessing
import os
import time
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._release import lock
from ansible_collections.seamless.rollout.plugins.module_utils._release.store import Store
from ansible_collections.seamless.rollout.plugins.module_utils._release.switch import ARGUMENT_SPEC as SWITCH

Perform = t.Callable[..., t.Dict[str, t.Any]]


def raw(store: Store) -> dict[str, t.Any]:
    with open(store.lock_path, encoding="utf-8") as file:
        return t.cast("dict[str, t.Any]", json.load(file))


def age(store: Store, seconds: float) -> None:
    """Have the lock be taken *seconds* ago, with a sign of life of just now."""
    held = raw(store)
    with open(store.lock_path, "w", encoding="utf-8") as file:
        json.dump({**held, "since": held["since"] - seconds}, file)


def journal(store: Store) -> str:
    with open(os.path.join(store.meta, "journal.jsonl"), encoding="utf-8") as file:
        return file.read()


def params(lock_id: str, **changes: t.Any) -> dict[str, t.Any]:
    return {**{name: option.get("default") for name, option in lock.ARGUMENT_SPEC.items()}, "lock_id": lock_id, "owner": f"{lock_id}@desk", **changes}


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Every wait for a holder, none of which takes any time."""
    made: list[float] = []
    monkeypatch.setattr(time, "sleep", made.append)
    return made


def roll(lock_id: str, roots: t.Sequence[str], barrier: t.Any, told: t.Any) -> None:
    """Do as a rollout does: take every lock at the same moment; give all of them back when one is refused."""
    barrier.wait()

    def take(root: str) -> bool:
        try:
            lock.take(Store(root), params(lock_id), False)
        except SeamlessError:
            return False
        return True

    with concurrent.futures.ThreadPoolExecutor(len(roots)) as pool:
        held = list(pool.map(take, roots))
    if not all(held):
        for root in roots:
            lock.release(Store(root), lock_id, False)
    told.put((lock_id, held))


@pytest.mark.parametrize("dummy", range(3))
def test_of_two_that_start_together_the_lower_id_gets_every_lock(tmp_path: t.Any, dummy: int) -> None:
    roots = [str(tmp_path / f"host{number}") for number in range(6)]
    context = multiprocessing.get_context("fork")
    barrier, told = context.Barrier(2), context.Queue()
    # The second one has a head start on half of the hosts: without stepping back, each would hold some.
    for root in roots[3:]:
        Store(root).create()
        lock.hold(Store(root), params("r2"), False)
    begun = time.monotonic()
    starters = [context.Process(target=roll, args=(name, order, barrier, told)) for name, order in (("r1", roots), ("r2", roots[::-1]))]
    for starter in starters:
        starter.start()
    got = dict(told.get(timeout=30) for starter in starters)
    for starter in starters:
        starter.join(30)
    assert all(got["r1"]) or all(got["r2"])
    assert not (all(got["r1"]) and all(got["r2"]))
    winner = "r1" if all(got["r1"]) else "r2"
    assert {raw(Store(root))["id"] for root in roots} == {winner}
    assert winner == "r2" or time.monotonic() - begun < lock._STEP_BACK, "it waits no longer than it has to"


def test_whoever_has_the_lower_id_waits_for_a_fresh_lock_and_not_for_ever(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "_STEP_BACK", 1.0)
    lock.hold(store, params("r2"), False)
    begun = time.monotonic()
    with pytest.raises(SeamlessError, match="locked by rollout r2"):
        lock.take(store, params("r1"), False)
    assert 1 <= time.monotonic() - begun < 10


def test_the_higher_id_steps_back_from_a_fresh_lock(store: Store, naps: list[float]) -> None:
    lock.hold(store, params("r1"), False)
    with pytest.raises(SeamlessError):
        lock.take(store, params("r2", wait=60), False)
    assert naps == [] and "orders" not in raw(store)


@pytest.mark.parametrize("policy", ["wait", "supersede"])
def test_who_holds_no_other_lock_waits_for_a_fresh_one_too(store: Store, policy: str) -> None:
    lock.hold(store, params("r1"), False)
    begun = time.monotonic()
    with pytest.raises(SeamlessError):
        lock.take(store, params("r2", policy=policy, wait=1, alone=True), False)
    assert 1 <= time.monotonic() - begun < 10
    assert ("orders" in raw(store)) is (policy == "supersede")


def test_reject_refuses_an_old_lock_at_once_and_names_the_holder(store: Store, naps: list[float]) -> None:
    lock.hold(store, params("r1", reason="release 2"), False)
    age(store, 100)
    for name in ("r0", "r2"):
        with pytest.raises(SeamlessError, match=r"locked by rollout r1 of r1@desk since .*, reason: release 2\. Wait for it, or for \d+ s"):
            lock.take(store, params(name), False)
    assert naps == []


def test_wait_takes_the_lock_when_the_holder_is_done_and_gives_up_in_time(store: Store) -> None:
    lock.hold(store, params("r1"), False)
    age(store, 100)
    begun = time.monotonic()
    with pytest.raises(SeamlessError):
        lock.take(store, params("r2", policy="wait", wait=0.7), False)
    assert 0.7 <= time.monotonic() - begun < 10
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lock.take, store, params("r2", policy="wait", wait=20), False)
        time.sleep(0.3)
        assert not waiting.done() and "orders" not in raw(store)
        lock.release(store, "r1", False)
        assert waiting.result(5)[1]
    assert raw(store)["id"] == "r2"


def test_supersede_orders_the_holder_to_abort_once_and_waits_for_it(store: Store) -> None:
    lock.hold(store, params("r1"), False)
    age(store, 100)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lock.take, store, params("r2", policy="supersede", wait=20), False)
        time.sleep(1.2)
        heard = lock.renew(store, "r1")
        assert heard is not None and not waiting.done()
        assert [(order["verb"], order["by"], order["reason"]) for order in heard["orders"]] == [("abort", "r2@desk", "superseded by r2")]
        lock.release(store, "r1", False)
        assert waiting.result(5)[1]
    assert "orders" not in raw(store)
    assert "superseded by r2" in journal(store)


def test_check_mode_neither_waits_nor_orders(store: Store, naps: list[float]) -> None:
    lock.hold(store, params("r1"), False)
    age(store, 100)
    before = raw(store)
    with pytest.raises(SeamlessError):
        lock.take(store, params("r2", policy="supersede", wait=20), True)
    assert naps == [] and raw(store) == before


def test_renewing_shows_life_keeps_orders_and_tells_them(store: Store, perform: Perform) -> None:
    lock.hold(store, params("r1", ttl=100), False)
    assert lock.leave_order(store, "pause", "bob@ci", "the phone rang", False)
    before = raw(store)
    told = perform("rollout_lock", root=store.root, lock_id="r1", renew=True, ttl=200)["lock"]
    assert [(order["verb"], order["by"], order["reason"]) for order in told["orders"]] == [("pause", "bob@ci", "the phone rang")]
    after = raw(store)
    assert after["monotonic"] > before["monotonic"] and after["ttl"] == 200
    unchanged = ("id", "owner", "at", "since", "orders")
    assert {key: after[key] for key in unchanged} == {key: before[key] for key in unchanged} and "idle" not in after


def test_renewing_another_ones_lock_or_none_changes_nothing(store: Store, perform: Perform, tmp_path: t.Any) -> None:
    assert perform("rollout_lock", root=store.root, lock_id="r2", renew=True)["lock"] is None
    assert not os.path.exists(store.lock_path)
    lock.hold(store, params("r1"), False)
    before = raw(store)
    assert perform("rollout_lock", root=store.root, lock_id="r2", renew=True)["lock"] is None
    assert raw(store) == before
    assert perform("rollout_lock", root=str(tmp_path / "nothing"), lock_id="r2", renew=True)["lock"] is None
    assert not os.path.exists(str(tmp_path / "nothing"))


def test_an_order_goes_to_whoever_holds_the_lock_and_to_nobody_where_there_is_none(store: Store, perform: Perform, tmp_path: t.Any) -> None:
    order = {"lock_id": "none", "order": "stop", "owner": "bob@ci", "reason": "lunch"}
    for root in (store.root, str(tmp_path / "nothing")):
        result = perform("rollout_lock", root=root, **order)
        assert (result["changed"], result["lock"]) == (False, None)
    assert not os.path.exists(str(tmp_path / "nothing")) and not os.path.exists(store.lock_path)
    lock.hold(store, params("r1"), False)
    assert perform("rollout_lock", True, root=store.root, **order)["lock"]["id"] == "r1"
    assert "orders" not in raw(store), "check mode leaves none"
    for verb in ("stop", "abort"):
        assert perform("rollout_lock", root=store.root, **{**order, "order": verb})["changed"]
    assert [entry["verb"] for entry in raw(store)["orders"]] == ["stop", "abort"]
    assert raw(store)["id"] == "r1" and "lunch" in journal(store)


def test_whoever_takes_up_its_rollout_again_forgets_the_orders_to_the_run_before(store: Store) -> None:
    lock.hold(store, params("r1", ttl=100), False)
    lock.leave_order(store, "stop", "bob@ci", "", False)
    since = raw(store)["since"]
    held, taken, warnings = lock.take(store, params("r1", ttl=300), False)
    assert (held["id"], taken, warnings) == ("r1", False, [])
    assert "orders" not in raw(store) and (raw(store)["ttl"], raw(store)["since"]) == (300, since)


def test_whoever_takes_over_a_lock_does_not_take_over_its_orders(store: Store) -> None:
    for changes in ({"takeover": ["r1"]}, {"break": True}):
        lock.hold(store, params("r1", **{"break": True}), False)
        lock.leave_order(store, "stop", "bob@ci", "", False)
        lock.hold(store, params("r2", **changes), False)
        assert "orders" not in raw(store)


def test_insisting_renews_ones_own_lock_and_names_who_has_it_else(store: Store) -> None:
    with pytest.raises(SeamlessError, match=r"rollout r1 has lost the lock on .*shop: nobody holds it\. Somebody broke it, or it ran out\."):
        lock.insist(store, "r1")
    lock.hold(store, params("r1"), False)
    before = raw(store)["monotonic"]
    lock.insist(store, "r1")
    assert raw(store)["monotonic"] > before
    lock.hold(store, params("r2", **{"break": True}), False)
    with pytest.raises(SeamlessError, match="rollout r2 of r2@desk holds it") as caught:
        lock.insist(store, "r1")
    assert caught.value.details["switched"] is False


def test_a_switch_without_the_lock_is_refused_before_anything_changes(store: Store, releases: t.Any, perform: Perform) -> None:
    releases("1.0", "2.0")
    assert "require_lock" in SWITCH
    perform("release_switch", root=store.root, release="1.0")
    lock.hold(store, params("r2"), False)
    with pytest.raises(SeamlessError, match="rollout r1 has lost the lock"):
        perform("release_switch", root=store.root, release="2.0", rollout_id="r1", require_lock=True)
    assert os.readlink(os.path.join(store.root, "current")) == "releases/1.0"
    perform("release_switch", root=store.root, release="2.0", rollout_id="r2", require_lock=True)
    assert os.readlink(os.path.join(store.root, "current")) == "releases/2.0"


def test_a_lock_that_would_run_out_under_a_living_rollout_is_refused(store: Store, perform: Perform) -> None:
    with pytest.raises(SeamlessError, match="ttl is 5: use at least 10 seconds"):
        perform("rollout_lock", root=store.root, lock_id="r1", ttl=5)
