# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A release against its manifest: every way in which its bytes may have changed, and what is no change of it."""

from __future__ import annotations

import os
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._release import manifest as manifests
from ansible_collections.seamless.rollout.plugins.module_utils._release import shared, verify
from ansible_collections.seamless.rollout.plugins.module_utils._release.manifest import Entry
from ansible_collections.seamless.rollout.plugins.module_utils._release.store import Store

CONTENT = {"app.py": b"print(1)\n", "lib/util.py": b"x = 1\n", "uploads/brought.txt": b"from the release\n"}


@pytest.fixture
def place(store: Store) -> str:
    """A release as staging leaves it, with ``uploads`` linked to a shared directory and the manifest it was made by."""
    place = store.release_path("1.0")
    entries = []
    for name, data in CONTENT.items():
        os.makedirs(os.path.dirname(os.path.join(place, name)), exist_ok=True)
        with open(os.path.join(place, name), "wb") as file:
            file.write(data)
        entries.append(Entry(name, "f", 0o644, len(data), manifests.hash_file(os.path.join(place, name))))
    os.symlink("app.py", os.path.join(place, "main"))
    entries += [Entry("main", "l", 0o777, 0, "app.py"), *(Entry(name, "d", 0o755, 0, "") for name in ("lib", "uploads"))]
    shared.make_links(store, place, ["uploads"], [], None)
    with open(store.manifest_path("1.0"), "wb") as file:
        file.write(manifests.dump({entry.path: entry for entry in entries}))
    store.save({"id": "1.0", "sequence": 1, "state": "ready", "digest": "x"})
    return place


def write(place: str, name: str, data: bytes, later: float | None = 10) -> None:
    """Write a file some seconds *later* than the manifest, or with the time that it had."""
    path = os.path.join(place, name)
    at = os.stat(path).st_mtime if os.path.exists(path) else 0
    with open(path, "wb") as file:
        file.write(data)
    os.utime(path, (at, at) if later is None else (at + later, at + later))


def test_what_was_staged_is_not_read_again(store: Store, place: str) -> None:
    assert verify.compare(store, "1.0", "quick") == {"release": "1.0", "how": "quick", "files": 2, "read": 0, "differ": 0, "paths": []}
    assert verify.compare(store, "1.0", "full") == {"release": "1.0", "how": "full", "files": 2, "read": 2, "differ": 0, "paths": []}


def made_a_link(path: str) -> None:
    os.unlink(path)
    os.symlink("lib/util.py", path)


CHANGES: dict[str, t.Callable[[str], None]] = {
    "edited, another size": lambda place: write(place, "app.py", b"print(22)\n", None),
    "edited, the same size": lambda place: write(place, "app.py", b"print(2)\n"),
    "removed": lambda place: os.unlink(os.path.join(place, "app.py")),
    "made a link": lambda place: made_a_link(os.path.join(place, "app.py")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_file_is_found_at_a_glance(store: Store, place: str, change: str) -> None:
    CHANGES[change](place)
    found = verify.compare(store, "1.0", "quick")
    assert found and found["differ"] == 1 and found["paths"] == ["app.py"]


def test_another_target_of_a_link_is_found(store: Store, place: str) -> None:
    os.unlink(os.path.join(place, "main"))
    os.symlink("lib/util.py", os.path.join(place, "main"))
    assert (verify.compare(store, "1.0", "quick") or {})["paths"] == ["main"]


def test_an_edit_that_hides_its_time_is_found_by_reading_everything(store: Store, place: str) -> None:
    write(place, "app.py", b"print(2)\n", None)
    quick, full = verify.compare(store, "1.0", "quick"), verify.compare(store, "1.0", "full")
    assert quick and full and (quick["differ"], full["differ"]) == (0, 1)


def test_what_is_no_change_of_the_release_does_not_count(store: Store, place: str) -> None:
    write(place, "lib/util.pyc", b"made by the application", 0)
    write(place, "uploads/brought.txt", b"somebody's")
    os.chmod(os.path.join(place, "app.py"), 0o600)
    os.utime(os.path.join(place, "lib/util.py"))
    os.link(os.path.join(place, "app.py"), os.path.join(store.releases, "linked-by-a-later-release"))
    for how in ("quick", "full"):
        assert (verify.compare(store, "1.0", how) or {})["differ"] == 0


def test_the_module_compares_the_live_release_only_when_asked_and_knows_what_it_can_not_know(store: Store, place: str, perform: t.Any) -> None:
    perform("release_switch", root=store.root, release="1.0")
    assert "verified" not in perform("release_info", root=store.root)
    assert perform("release_info", root=store.root, verify="quick")["verified"]["files"] == 2
    os.unlink(store.manifest_path("1.0"))
    assert perform("release_info", root=store.root, verify="full")["verified"] is None
