# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._release import links, lock, prune
from ansible_collections.seamless.rollout.plugins.module_utils._release.store import Store, check_id
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize("name", ["", ".hidden", "../up", "a/b", "a b", "x" * 129, "-dash"])
def test_ids_that_cannot_be_a_directory_are_refused(name: str) -> None:
    with pytest.raises(SeamlessError, match=r"such as 1\.2\.0"):
        check_id(name)


def test_switch_points_a_relative_link_and_says_what_was_there(store: Store, releases: t.Any, perform: t.Any) -> None:
    releases("1.0", "2.0")
    first = perform("release_switch", root=store.root, release="1.0")
    assert (first["changed"], first["previous"]) == (True, None)
    second = perform("release_switch", root=store.root, release="2.0")
    assert (second["changed"], second["previous"]) == (True, "1.0")
    assert os.readlink(store.link_path("current")) == "releases/2.0"
    assert second["diff"] == {"before": {"current": "1.0"}, "after": {"current": "2.0"}}
    assert not perform("release_switch", root=store.root, release="2.0")["changed"]
    assert store.record("1.0")["state"] == "previous"
    assert store.record("2.0")["state"] == "current"


def test_check_mode_switches_nothing(store: Store, releases: t.Any, perform: t.Any) -> None:
    releases("1.0")
    before = sorted(os.walk(store.root))
    assert perform("release_switch", check_mode=True, root=store.root, release="1.0")["changed"]
    assert sorted(os.walk(store.root)) == before


def test_a_release_that_is_missing_or_unfinished_is_refused(store: Store, releases: t.Any, perform: t.Any) -> None:
    releases("1.0")
    releases("half", state="staged")
    with pytest.raises(SeamlessError, match="not on this host.*1.0"):
        perform("release_switch", root=store.root, release="9.9")
    with pytest.raises(SeamlessError, match="not ready"):
        perform("release_switch", root=store.root, release="half")
    assert not os.path.lexists(store.link_path("current"))


def test_a_real_directory_is_never_replaced_unasked(store: Store, releases: t.Any, perform: t.Any) -> None:
    releases("1.0")
    os.mkdir(store.link_path("current"))
    with open(os.path.join(store.link_path("current"), "precious"), "w", encoding="utf-8") as file:
        file.write("data")
    with pytest.raises(SeamlessError, match="real directory") as caught:
        perform("release_switch", root=store.root, release="1.0")
    assert caught.value.details["switched"] is False
    result = perform("release_switch", root=store.root, release="1.0", adopt_directory=True)
    adopted = os.path.join(store.release_path(result["previous"]), "precious")
    with open(adopted, encoding="utf-8") as file:
        assert file.read() == "data"
    assert os.readlink(store.link_path("current")) == "releases/1.0"


def test_a_link_out_of_the_tree_is_left_alone(store: Store, releases: t.Any, perform: t.Any, tmp_path: t.Any) -> None:
    releases("1.0")
    os.symlink(str(tmp_path), store.link_path("current"))
    with pytest.raises(SeamlessError, match="outside"):
        perform("release_switch", root=store.root, release="1.0")


def test_a_dangling_link_is_repaired_with_a_note(store: Store, releases: t.Any, perform: t.Any) -> None:
    releases("1.0")
    os.symlink("releases/gone", store.link_path("current"))
    assert perform("release_info", root=store.root)["current"]["kind"] == "dangling"
    result = perform("release_switch", root=store.root, release="1.0")
    assert "dangling" in result["warnings"][0]
    assert store.link("current") == ("link", "1.0", store.release_path("1.0"))


def test_rollback_marks_the_release_it_leaves_as_bad_and_keeps_the_good_mark(store: Store, releases: t.Any, perform: t.Any) -> None:
    releases("1.0", "2.0")
    perform("release_switch", root=store.root, release="1.0")
    perform("release_prune", root=store.root, good="1.0")
    perform("release_switch", root=store.root, release="2.0")
    perform("release_switch", root=store.root, release="1.0", reason="rollback")
    assert store.record("2.0")["state"] == "bad"
    assert store.record("1.0")["state"] == "good"
    assert store.last_good() == "1.0"


def test_a_release_that_is_live_again_is_the_newest_good_one(store: Store, releases: t.Any, perform: t.Any) -> None:
    releases("1.0", "2.0", "3.0")
    for release in ("1.0", "3.0", "1.0", "2.0"):
        perform("release_switch", root=store.root, release=release)
        assert perform("release_prune", root=store.root, good=release)["changed"]
        assert not perform("release_prune", root=store.root, good=release)["changed"]
    assert store.last_good(besides="2.0") == "1.0"


def _read(path: str, stop: t.Any, bad: t.Any, reads: t.Any) -> None:
    while not stop.is_set():
        try:
            with open(os.path.join(path, "VERSION"), encoding="utf-8") as file:
                wrong = file.read() not in ("1.0", "2.0")
        except OSError:
            wrong = True
        bad.value += wrong
        reads.value += 1


def test_readers_never_see_the_link_missing(store: Store, releases: t.Any) -> None:
    releases("1.0", "2.0")
    links.point(store, "current", "1.0")
    context = multiprocessing.get_context("fork")
    stop, bad, reads = context.Event(), context.Value("L", 0), context.Value("L", 0)
    reader = context.Process(target=_read, args=(store.link_path("current"), stop, bad, reads))
    reader.start()
    for number in range(2000):
        links.point(store, "current", f"{number % 2 + 1}.0")
    stop.set()
    reader.join(10)
    assert reads.value > 100
    assert bad.value == 0
    assert [name for name in os.listdir(store.root) if name.startswith(".seamless-link-")] == []


def test_links_of_a_dead_switch_are_swept_and_others_are_not(store: Store, releases: t.Any) -> None:
    releases("1.0")
    os.symlink("releases/1.0", os.path.join(store.root, ".seamless-link-dead"))
    os.symlink("releases/1.0", os.path.join(store.root, "mine"))
    links.sweep(store)
    assert "mine" in os.listdir(store.root)
    assert ".seamless-link-dead" not in os.listdir(store.root)


def test_a_half_written_journal_line_loses_nothing_else(store: Store) -> None:
    store.note("one")
    with open(store.journal_path, "ab") as file:
        file.write(b'{"event": "cut o')
    store.note("two")
    assert [entry["event"] for entry in store.journal()] == ["one", "two"]


STATES = ["ready", "current", "good", "previous", "failed", "bad"]


@given(
    st.lists(st.sampled_from(STATES), max_size=12),
    st.integers(min_value=1, max_value=6),
    st.sets(st.integers(min_value=0, max_value=11)),
)
def test_pruning_keeps_what_is_protected_and_enough_sound_releases(states: list[str], keep: int, protected: set[int]) -> None:
    records = {str(number): {"state": state} for number, state in enumerate(states)}
    choice = prune.decide(records, keep_releases=keep, protected={str(number): "named" for number in protected})
    assert not set(choice.prune) & {str(number) for number in protected}
    assert set(choice.prune) | set(choice.keep) == set(records)
    sound = [release for release in records if records[release]["state"] not in ("failed", "bad")]
    assert set(sound[-keep:]) <= set(choice.keep)
    left = {release: records[release] for release in records if release in choice.keep}
    assert prune.decide(left, keep_releases=keep, protected={str(n): "named" for n in protected}).prune == []


def test_prune_never_removes_what_a_process_works_in(store: Store, releases: t.Any, perform: t.Any) -> None:
    releases("1.0", "2.0", "3.0", "4.0")
    perform("release_switch", root=store.root, release="4.0")
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], cwd=store.release_path("1.0"))
    try:
        time.sleep(0.2)
        result = perform("release_prune", root=store.root, keep_releases=1)
    finally:
        sleeper.kill()
        sleeper.wait()
    assert result["pruned"] == ["2.0", "3.0"]
    assert any(item["id"] == "1.0" and "in use" in item["why"] for item in result["kept"])
    assert perform("release_prune", root=store.root, keep_releases=1)["pruned"] == ["1.0"]
    assert not perform("release_prune", root=store.root, keep_releases=1)["changed"]


def test_prune_leaves_foreign_directories_and_the_way_back(store: Store, releases: t.Any, perform: t.Any) -> None:
    os.mkdir(os.path.join(store.releases, "20240101120000"))
    releases("1.0")
    perform("release_switch", root=store.root, release="1.0")
    perform("release_prune", root=store.root, good="1.0")
    releases("2.0", "3.0", "4.0", state="failed")
    releases("5.0")
    perform("release_switch", root=store.root, release="5.0")
    result = perform("release_prune", root=store.root, keep_releases=1, good="5.0")
    assert sorted(os.listdir(store.releases)) == ["1.0", "20240101120000", "4.0", "5.0"]
    assert result["pruned"] == ["2.0", "3.0"]


# What became of the releases that were live here one after another, the last of them live now, and of some that were only staged.
PASTS = {
    "two good ones": (("0.9", "good"), ("1.0", "good")),
    "the live one never proved good": (("0.8", "good"), ("0.9", "good"), ("1.0", "current")),
    "failed ones between": (("0.8", "good"), ("0.9", "failed"), ("1.0", "good"), ("1.1", "failed"), ("1.2", "good")),
    "the live one failed": (("0.8", "good"), ("0.9", "good"), ("1.0", "failed")),
    "many": (("0.5", "good"), ("0.6", "good"), ("0.7", "good"), ("0.8", "good"), ("0.9", "good"), ("1.0", "good")),
    "of another tool": (("foreign", ""), ("0.9", "good"), ("1.0", "good")),
    "live by another tool": (("0.8", "good"), ("0.9", "good"), ("foreign", "")),
    "nothing": (),
}


@pytest.mark.parametrize("there", ["absent", "staged", "was live"])
@pytest.mark.parametrize("keep", [1, 2, 3])
@pytest.mark.parametrize("past", list(PASTS))
def test_what_a_plan_says_of_pruning_is_what_the_rollout_prunes(store: Store, releases: t.Any, perform: t.Any, past: str, keep: int, there: str) -> None:
    lived = [*((("2.0", "good"),) if there == "was live" else ()), *PASTS[past]]
    if there == "staged":
        releases("2.0")
    for number, (release, state) in enumerate(lived):
        if release == "foreign":
            os.mkdir(store.release_path(release))
            os.unlink(store.link_path("current")) if os.path.lexists(store.link_path("current")) else None
            os.symlink(f"releases/{release}", store.link_path("current"))
            continue
        releases(release)
        perform("release_switch", root=store.root, release=release)
        if state == "good":
            perform("release_prune", root=store.root, good=release, prune=False)
        elif state == "failed":
            store.save({**(store.record(release) or {}), "state": "failed"})
            if number + 1 < len(lived):
                # It was undone: the switch back says that it is bad, and the one before is live until the next comes.
                perform("release_switch", root=store.root, release=lived[number - 1][0], reason="rollback")
    foretold = perform("release_info", root=store.root, keep_releases=keep, coming="2.0")["would_prune"]
    if not os.path.isdir(store.release_path("2.0")):
        releases("2.0", rollout_id="r")
    perform("rollout_lock", root=store.root, lock_id="r")
    perform("release_switch", root=store.root, release="2.0", rollout_id="r", require_lock=True)
    assert perform("release_prune", root=store.root, keep_releases=keep, good="2.0", lock_id="r")["pruned"] == foretold


def test_a_plan_that_keeps_two_releases_says_that_the_third_goes(store: Store, releases: t.Any, perform: t.Any) -> None:
    for release in ("0.9", "1.0"):
        releases(release)
        perform("release_switch", root=store.root, release=release)
        perform("release_prune", root=store.root, good=release)
    assert perform("release_info", root=store.root, keep_releases=2, coming="2.0")["would_prune"] == ["0.9"]
    assert perform("release_info", root=store.root, keep_releases=2)["would_prune"] == []


def test_prune_leaves_what_a_running_rollout_has_staged_until_its_lock_runs_out(
    store: Store, releases: t.Any, perform: t.Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    releases("1.0")
    perform("release_switch", root=store.root, release="1.0")
    releases("2.0", rollout_id="running")
    releases("3.0", "4.0", rollout_id="over")
    perform("rollout_lock", root=store.root, lock_id="running", ttl=10)
    result = perform("release_prune", root=store.root, keep_releases=1)
    assert result["pruned"] == ["3.0"]
    assert {item["id"]: item["why"] for item in result["kept"]}["2.0"] == "staged by a running rollout"
    later = time.monotonic() + 11
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert perform("release_prune", root=store.root, keep_releases=1)["pruned"] == ["2.0"]


def test_keep_releases_below_one_is_refused(store: Store, perform: t.Any) -> None:
    with pytest.raises(SeamlessError, match="keep_releases is 0"):
        perform("release_prune", root=store.root, keep_releases=0)


def test_trees_with_read_only_directories_can_be_pruned(store: Store, releases: t.Any, perform: t.Any) -> None:
    releases("1.0", "2.0")
    perform("release_switch", root=store.root, release="2.0")
    os.makedirs(os.path.join(store.release_path("1.0"), "a", "b"))
    os.chmod(os.path.join(store.release_path("1.0"), "a"), 0o500)
    assert perform("release_prune", root=store.root, keep_releases=1)["pruned"] == ["1.0"]


def test_the_lock_names_its_holder_to_others_and_is_theirs_alone(store: Store, perform: t.Any) -> None:
    held = perform("rollout_lock", root=store.root, lock_id="a", owner="ann@desk", reason="release 2")
    assert held["lock_changed"]
    assert not perform("rollout_lock", root=store.root, lock_id="a", owner="ann@desk")["lock_changed"]
    with pytest.raises(SeamlessError, match="ann@desk.*release 2.*break: true"):
        perform("rollout_lock", root=store.root, lock_id="b")
    assert not perform("rollout_lock", root=store.root, lock_id="b", state="released")["lock_changed"]
    assert perform("rollout_lock", root=store.root, lock_id="b", takeover=["a"])["lock"]["id"] == "b"
    assert "broken" in perform("rollout_lock", root=store.root, lock_id="c", **{"break": True})["warnings"][0]
    assert perform("rollout_lock", root=store.root, lock_id="c", state="released")["lock_changed"]
    assert lock.read(store) is None


def test_a_lock_without_a_sign_of_life_runs_out(store: Store, perform: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    perform("rollout_lock", root=store.root, lock_id="a", ttl=10)
    later = time.monotonic() + 11
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert "had run out" in perform("rollout_lock", root=store.root, lock_id="b")["warnings"][0]


def test_a_wrong_clock_does_not_make_a_lock_run_out(store: Store, perform: t.Any) -> None:
    perform("rollout_lock", root=store.root, lock_id="a", ttl=10)
    os.utime(store.lock_path, (0, 0))
    with pytest.raises(SeamlessError, match="is locked"):
        perform("rollout_lock", root=store.root, lock_id="b")


def _take(root: str, number: int, barrier: t.Any, won: t.Any) -> None:
    barrier.wait()
    params = {"lock_id": str(number), "app": "", "owner": "", "reason": "", "ttl": 100, "break": False, "takeover": [], "release": ""}
    try:
        lock.hold(Store(root), params, False)
    except SeamlessError:
        return
    with won.get_lock():
        won.value += 1


def test_only_one_of_many_takes_the_lock(store: Store) -> None:
    context = multiprocessing.get_context("fork")
    barrier, won = context.Barrier(8), context.Value("i", 0)
    takers = [context.Process(target=_take, args=(store.root, number, barrier, won)) for number in range(8)]
    for taker in takers:
        taker.start()
    for taker in takers:
        taker.join(20)
    assert won.value == 1


def test_reading_creates_nothing_and_knows_other_tools(tmp_path: t.Any, perform: t.Any) -> None:
    root = str(tmp_path / "none")
    assert not perform("release_info", root=root)["exists"]
    assert not os.path.exists(root)
    for name in ("20240101120000", "20240301120000"):
        os.makedirs(os.path.join(root, "releases", name))
    os.symlink(os.path.join(root, "releases", "20240301120000"), os.path.join(root, "current"))
    os.utime(os.path.join(root, "releases", "20240101120000"))
    info = perform("release_info", root=root)
    assert info["layout"] == "capistrano"
    assert info["current"]["release"] == "20240301120000"
    assert [item["id"] for item in info["releases"]] == ["20240101120000", "20240301120000"]
    assert sorted(os.listdir(root)) == ["current", "releases"]
    assert perform("release_switch", root=root, release="20240101120000")["previous"] == "20240301120000"


TREES = {
    "capistrano": (("20240101120000", "20240301120000"), "revisions.log"),
    "ansistrano": (("20240101120000Z", "20240301120000Z"), "repo/HEAD"),
    "deployer": (("9", "10"), ".dep/releases_log"),
}


@pytest.mark.parametrize("tool", list(TREES))
def test_the_release_that_another_tool_left_live_is_a_way_back_and_never_pruned(tmp_path: t.Any, perform: t.Any, tool: str) -> None:
    (old, live), mark = TREES[tool]
    root = tmp_path / "shop"
    for name in (old, live):
        (root / "releases" / name).mkdir(parents=True)
        (root / "releases" / name / "REVISION").write_text(f"sha-of-{name}\n")
    (root / mark).parent.mkdir(exist_ok=True)
    (root / mark).touch()
    os.symlink(root / "releases" / live, root / "current")
    info = perform("release_info", root=str(root))
    assert info["layout"] == tool
    assert [(item["id"], item["origin"], item["revision"]) for item in info["releases"]] == [(name, tool, f"sha-of-{name}") for name in (old, live)]
    store = Store(str(root))
    store.create()
    os.mkdir(store.release_path("1.0"))
    store.save({"id": "1.0", "sequence": 1, "state": "ready", "origin": "seamless", "digest": "d"})
    perform("release_switch", root=str(root), release="1.0")
    pruned = perform("release_prune", root=str(root), keep_releases=1, good="1.0")
    assert pruned["pruned"] == [] and set(os.listdir(root / "releases")) == {old, live, "1.0"}
    info = perform("release_info", root=str(root))
    assert info["previous"] == live
    assert [item["managed"] for item in info["releases"]] == [False, False, True]
    with pytest.raises(SeamlessError, match="not put there by this collection"):
        perform("release_stage", root=str(root), release=live, digest="d")
    perform("release_switch", root=str(root), release=live, reason="rollback")
    assert perform("release_prune", root=str(root), keep_releases=1, good=live)["pruned"] == []
    info = perform("release_info", root=str(root))
    assert (info["current"]["release"], info["last_good"]) == (live, live)
    assert {item["id"]: item["state"] for item in info["releases"]} == {old: "ready", live: "good", "1.0": "bad"}


def test_a_link_to_something_that_is_gone_and_was_no_release_is_repaired(store: Store, releases: t.Any, perform: t.Any) -> None:
    releases("1.0")
    os.symlink("/nowhere at all/x", store.link_path("current"))
    result = perform("release_switch", root=store.root, release="1.0")
    assert result["switched"] and "was dangling" in result["warnings"][0]
    assert store.record("1.0")["state"] == "current"
