# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import time
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._release import floor as floors
from ansible_collections.seamless.rollout.plugins.module_utils._release.store import Store

NAME = "2026_11_22_01_user_name"
OTHER = "2026_12_01_01_prices"


def carry(store: Store, release: str, *files: str, squashed: str = "", directory: str = "migrations") -> None:
    place = os.path.join(store.release_path(release), directory)
    os.makedirs(place, exist_ok=True)
    for file in files:
        with open(os.path.join(place, file), "w", encoding="utf-8") as made:
            made.write(file)
    if squashed:
        with open(os.path.join(place, "squashed"), "w", encoding="utf-8") as made:
            made.write(squashed)


def test_a_release_carries_what_its_directory_holds_or_names_as_squashed(store: Store, releases: t.Any) -> None:
    releases("1.0")
    carry(
        store, "1.0", f"{NAME}.yml", "b.yaml", "001_names.expand.sql", "001_names.contract.sql", "README.md", ".hidden.yml",
        squashed=f"# long ago\n{OTHER}  # gone\n\nb\n",
    )
    found = floors.carried(store.release_path("1.0"))
    assert set(found) == {NAME, "b", "001_names", OTHER}
    assert found[NAME] == hashlib.sha256(f"{NAME}.yml".encode()).hexdigest()
    assert (found[OTHER], len(found["b"])) == ("squashed", 64)
    releases("2.0")
    assert floors.carried(store.release_path("2.0")) == {}
    carry(store, "2.0", "c.yml", directory="db/changes")
    assert set(floors.carried(store.release_path("2.0"), "db/changes")) == {"c"}
    with pytest.raises(SeamlessError, match=r"'\.\./x': use a path within the release, such as migrations"):
        floors.carried(store.release_path("2.0"), "../x")


def test_the_floor_refuses_a_switch_and_names_what_is_missing_and_what_would_do(store: Store, releases: t.Any, perform: t.Any) -> None:
    releases("41", "42", "43")
    for release in ("42", "43"):
        carry(store, release, f"{NAME}.yml")
    assert perform("release_switch", root=store.root, release="42")["switched"]
    raised = perform("release_floor", root=store.root, migrations=[NAME], release="42", rollout_id="r7")
    assert (raised["changed"], raised["floor"]["migrations"], raised["floor"]["set_by"]) == (True, [NAME], "r7")
    assert not perform("release_floor", root=store.root, migrations=[NAME], release="42", rollout_id="r8")["changed"]
    for check_mode in (True, False):
        with pytest.raises(SeamlessError) as caught:
            perform("release_switch", check_mode=check_mode, root=store.root, release="41", reason="rollback")
        text = str(caught.value)
        assert f"release 41 is below the release floor (release 42, set at {raised['floor']['set_at']} by r7)" in text
        assert f"it does not carry the migration {NAME}" in text
        assert "Go to one that does (here: 42, 43)" in text
        assert "state: restored" in text
        assert caught.value.details["switched"] is False
    assert os.readlink(store.link_path("current")) == "releases/42"
    assert perform("release_switch", root=store.root, release="43")["switched"]
    assert perform("release_switch", root=store.root, release="41", link="preview")["switched"], "the floor guards what is live"


def test_the_floor_grows_by_names_and_sinks_by_names(store: Store, releases: t.Any, perform: t.Any) -> None:
    releases("42")
    carry(store, "42", f"{NAME}.yml", squashed=OTHER)
    before = sorted(os.walk(store.root))
    assert perform("release_floor", check_mode=True, root=store.root, migrations=[NAME])["changed"]
    assert sorted(os.walk(store.root)) == before
    perform("release_floor", root=store.root, migrations=[NAME], release="42")
    both = perform("release_floor", root=store.root, migrations=[OTHER], release="43")
    assert (both["floor"]["migrations"], both["floor"]["release"]) == ([NAME, OTHER], "43")
    assert both["diff"] == {"before": {"floor": [NAME]}, "after": {"floor": [NAME, OTHER]}}
    assert perform("release_switch", root=store.root, release="42")["switched"]
    lowered = perform("release_floor", root=store.root, migrations=[NAME], state="absent")
    assert (lowered["floor"]["migrations"], lowered["floor"]["release"]) == ([OTHER], "43")
    gone = perform("release_floor", root=store.root, migrations=[OTHER], state="absent")
    assert (gone["changed"], gone["floor"], os.path.exists(floors.path(store))) == (True, None, False)
    assert not perform("release_floor", root=store.root, migrations=[OTHER], state="absent")["changed"]
    events = [entry for entry in store.journal() if entry["event"] == "floor"]
    assert [entry["state"] for entry in events] == ["present", "present", "absent", "absent"]


def test_the_floor_is_not_raised_above_what_is_live(store: Store, releases: t.Any, perform: t.Any) -> None:
    releases("41")
    perform("release_switch", root=store.root, release="41")
    with pytest.raises(SeamlessError, match="release 41 is below the release floor"):
        perform("release_floor", root=store.root, migrations=[NAME], release="42")
    assert floors.read(store) is None


@pytest.mark.parametrize("names", [[], ["../up"], ["a b"]])
def test_names_that_no_migration_has_are_refused(store: Store, perform: t.Any, names: list[str]) -> None:
    with pytest.raises(SeamlessError, match="such as 2026_11_22_01_user_name"):
        perform("release_floor", root=store.root, migrations=names)


def test_a_damaged_floor_stops_a_switch(store: Store, releases: t.Any, perform: t.Any) -> None:
    releases("41")
    for text in ("{", "[]", '{"migrations": "x"}'):
        with open(floors.path(store), "w", encoding="utf-8") as file:
            file.write(text)
        with pytest.raises(SeamlessError, match="written by hand or damaged"):
            perform("release_switch", root=store.root, release="41")


def test_a_new_host_gets_the_floor_of_the_others(store: Store, releases: t.Any, perform: t.Any) -> None:
    releases("41", "42")
    carry(store, "42", f"{NAME}.yml")
    floor = {"migrations": [NAME], "release": "42", "set_at": "2026-11-22T10:00:00.000000Z", "set_by": "r7", "directory": "migrations"}
    with pytest.raises(SeamlessError, match="release 41 is below the release floor"):
        perform("release_switch", root=store.root, release="41", floor=floor)
    assert floors.read(store) is None
    perform("release_switch", check_mode=True, root=store.root, release="42", floor=floor)
    assert floors.read(store) is None
    perform("release_switch", root=store.root, release="42", floor=floor)
    assert floors.read(store) == floor
    with pytest.raises(SeamlessError, match="below the release floor"):
        perform("release_switch", root=store.root, release="41")


def test_no_floor_leaves_no_trace(store: Store, releases: t.Any, perform: t.Any) -> None:
    releases("41")
    perform("release_switch", root=store.root, release="41", floor={})
    assert sorted(name for name in os.listdir(store.meta) if "floor" in name) == []
    assert "lock.guard" not in os.listdir(store.meta)


def test_many_at_once_lose_no_name(store: Store) -> None:
    names = [f"m{number}" for number in range(6)]
    code = (
        "import sys\nfrom ansible_collections.seamless.rollout.plugins.module_utils._release import floor\n"
        "floor.run({'root': sys.argv[1], 'migrations': [sys.argv[2]], 'release': '1', 'directory': 'migrations', 'state': 'present', 'rollout_id': ''}, False)"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, store.root, name]) for name in names]
    assert [process.wait(60) for process in running] == [0] * 6
    assert (floors.read(store) or {})["migrations"] == names


def test_one_floor_of_several_is_as_high_as_all_of_them() -> None:
    older = {"migrations": ["a"], "release": "1", "set_at": "2026-01-01", "set_by": "x", "directory": "migrations"}
    newer = {"migrations": ["b"], "release": "2", "set_at": "2026-02-01", "set_by": "y", "directory": "db"}
    assert floors.merged([None, older, {}, newer]) == {**newer, "migrations": ["a", "b"]}
    assert floors.merged([None, {}]) is None
    assert floors.lacks(newer, {"b": "1"}) == []
    assert floors.lacks(None, []) == []


def test_reading_says_what_releases_carry_and_the_floor(store: Store, releases: t.Any, perform: t.Any) -> None:
    releases("41", "42")
    carry(store, "42", f"{NAME}.yml")
    info = perform("release_info", root=store.root)
    assert (info["floor"], [sorted(item["migrations"]) for item in info["releases"]]) == (None, [[], [NAME]])
    assert "running" not in info
    perform("release_floor", root=store.root, migrations=["x"], release="42", directory="db")
    carry(store, "41", "x.yml", directory="db")
    info = perform("release_info", root=store.root)
    assert (info["floor"]["migrations"], [sorted(item["migrations"]) for item in info["releases"]]) == (["x"], [["x"], []]), "the floor says where they are"
    assert [sorted(item["migrations"]) for item in perform("release_info", root=store.root, migrations_directory="migrations")["releases"]] == [[], [NAME]]


def test_reading_says_since_when_and_what_else_works_in_a_release(store: Store, releases: t.Any, perform: t.Any) -> None:
    releases("41", "42")
    assert perform("release_info", root=store.root, running=True)["running"] == {"switched_ago": None, "services": [], "processes": {}}
    code = "import time; print('up', flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=store.release_path("41"), stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        perform("release_switch", root=store.root, release="42")
        time.sleep(0.2)
        running = perform("release_info", root=store.root, running=True)["running"]
    finally:
        process.kill()
        process.communicate()
    assert 0.1 <= running["switched_ago"] < 30
    assert running["processes"] == {"41": [f"process {process.pid} (cwd)"]}
    os.unlink(store.link_path("current"))
    os.symlink("releases/41", store.link_path("current"))
    assert perform("release_info", root=store.root, running=True)["running"]["switched_ago"] < 5, "a link that somebody made by hand"


def test_a_switch_of_an_earlier_boot_is_dated_by_the_clock(store: Store, releases: t.Any, perform: t.Any) -> None:
    releases("42")
    perform("release_switch", root=store.root, release="42")
    entries = store.journal()
    with open(store.journal_path, "w", encoding="utf-8") as file:
        for entry in entries:
            at = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime(time.time() - 7200))
            file.write(json.dumps({**entry, "boot": "another", "monotonic": 1e9, "at": at}) + "\n")
    assert 7190 < perform("release_info", root=store.root, running=True)["running"]["switched_ago"] < 7210


def test_what_is_staged_below_the_floor_fails_before_any_host_is_touched(store: Store, tmp_path: t.Any, perform: t.Any) -> None:
    from ansible_collections.seamless.rollout.plugins.plugin_utils import _bundle, _source

    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "app.py").write_text("old code")
    floor = {"migrations": [NAME], "release": "42", "set_at": "2026-11-22", "set_by": "", "directory": "migrations"}
    state_dir = str(tmp_path / "state")

    def stage(release: str) -> dict[str, t.Any]:
        resolved = _source.resolve({"type": "directory", "path": str(tmp_path / "build")}, app="shop", release=release, rollout_id=release, state_dir=state_dir)
        return _bundle.ship(
            resolved, state_dir, [],
            lambda bundle: perform(
                "release_stage", root=store.root, release=release, digest=resolved.digest, source={}, floor=floor, min_free="0%",
                **({"_attachment": io.BytesIO(bundle)} if bundle is not None else {}),
            ),
        )  # fmt: skip

    for dummy in range(2):  # when it is unpacked, and when it is there already
        with pytest.raises(SeamlessError, match="release 41 is below the release floor .*release 42"):
            stage("41")
    (tmp_path / "build" / "migrations").mkdir()
    (tmp_path / "build" / "migrations" / f"{NAME}.yml").write_text("app: shop")
    assert stage("42")["state"] == "ready"
    assert floors.read(store) == floor


def test_the_controller_knows_what_a_release_carries_before_it_is_shipped(tmp_path: t.Any) -> None:
    from ansible_collections.seamless.rollout.plugins.plugin_utils import _source

    build = tmp_path / "build"
    (build / "migrations").mkdir(parents=True)
    (build / "migrations" / "a.yml").write_text("x")
    (build / "migrations" / "b.yml").write_text("x")
    (build / "migrations" / "squashed").write_text("old\n")
    source = {"type": "directory", "path": str(build), "exclude": ["migrations/b.yml"]}
    state_dir = str(tmp_path / "state")
    resolved = _source.resolve(source, app="shop", release="1", rollout_id="r", state_dir=state_dir)
    assert _source.carried(state_dir, resolved.digest, resolved.tree, "migrations") == ["a", "old"]
    assert _source.carried(state_dir, resolved.digest, resolved.tree, "db") == []


def test_of_several_migrations_each_is_named_and_brought_back_by_itself() -> None:
    floor = {"migrations": ["a", "b"], "release": "2", "set_at": "", "set_by": "", "directory": "migrations"}
    text = floors.refusal("1", floor, ["a", "b"])
    assert "it does not carry the migrations a, b, and" in text
    assert "with -e rollout_restore=NAME for each of them, the newest first (" in text
