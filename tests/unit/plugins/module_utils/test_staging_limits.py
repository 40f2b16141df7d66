# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Staging where the host is not as it mostly is: modes of the user's own, no inodes, other file systems, no reflinks."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._release import build, unpack
from ansible_collections.seamless.rollout.plugins.module_utils._release.store import Store
from test_staging import make_tree, stage


def mode_of(store: Store, name: str, release: str = "1.0") -> int:
    return stat.S_IMODE(os.lstat(os.path.join(store.release_path(release), name)).st_mode)


def test_modes_are_as_asked_for_and_what_is_executable_stays_so(tmp_path: t.Any, store: Store, perform: t.Any) -> None:
    source = {"type": "directory", "path": make_tree(tmp_path / "one")}
    stage(perform, store, tmp_path, source, "1.0", file_mode="0640", dir_mode="0750", linked_dirs=["var/log"])
    assert {name: oct(mode_of(store, name)) for name in ("sub/file1", "run", "sub", "sub/deep", "var", "")} == {
        "sub/file1": "0o640", "run": "0o751", "sub": "0o750", "sub/deep": "0o750", "var": "0o750", "": "0o750",
    }
    stage(perform, store, tmp_path, {"type": "directory", "path": make_tree(tmp_path / "two", salt="new")}, "2.0", file_mode="0600")
    assert [oct(mode_of(store, name, "2.0")) for name in ("sub/file0", "sub/file1", "run")] == ["0o600", "0o600", "0o711"]
    assert oct(mode_of(store, "sub/file1")) == "0o640"


def test_a_narrow_umask_does_not_narrow_what_is_made_on_the_way_to_a_linked_path(tmp_path: t.Any, store: Store, perform: t.Any) -> None:
    before = os.umask(0o077)
    try:
        stage(perform, store, tmp_path, {"type": "directory", "path": make_tree(tmp_path / "one")}, "1.0", linked_dirs=["var/log"])
    finally:
        os.umask(before)
    assert (oct(mode_of(store, "var")), oct(mode_of(store, ""))) == ("0o755", "0o755")


@pytest.mark.parametrize("value", ["rw", "0888", "1777", "u=rw"])
@pytest.mark.parametrize("name", ["file_mode", "dir_mode"])
def test_modes_that_are_none_are_refused(tmp_path: t.Any, store: Store, perform: t.Any, name: str, value: str) -> None:
    with pytest.raises(SeamlessError, match=f"{name} is '{value}': use an octal mode"):
        stage(perform, store, tmp_path, {"type": "directory", "path": make_tree(tmp_path / "one")}, "1.0", **{name: value})
    assert (os.listdir(store.releases), os.listdir(store.staging)) == ([], [])


@pytest.mark.parametrize(("what", "message"), [("owner", "no such user"), ("group", "no such group")])
def test_an_owner_that_this_host_does_not_know_is_refused(tmp_path: t.Any, store: Store, perform: t.Any, what: str, message: str) -> None:
    with pytest.raises(SeamlessError, match=f"{what} is 'nobody-here': there is {message}"):
        stage(perform, store, tmp_path, {"type": "directory", "path": make_tree(tmp_path / "one")}, "1.0", **{what: "nobody-here"})
    assert os.listdir(store.releases) == []


def test_a_host_without_inodes_is_refused_with_numbers(tmp_path: t.Any, store: Store, perform: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.statvfs(store.root)
    fields = list(real)[:10]
    fields[5], fields[7] = 1000, 1  # f_files, f_favail
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result(fields))
    with pytest.raises(SeamlessError, match=r"1 inodes are free and the release needs \d+\. Prune"):
        stage(perform, store, tmp_path, {"type": "directory", "path": make_tree(tmp_path / "one")}, "1.0")
    assert (os.listdir(store.releases), os.listdir(store.staging)) == ([], [])
    fields[5], fields[7] = 0, 0  # btrfs and the like count none
    assert stage(perform, store, tmp_path, {"type": "directory", "path": str(tmp_path / "one")}, "1.0")["state"] == "ready"


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> t.Callable[[str], None]:
    """Let a directory seem to be on a file system of its own."""
    real = os.stat

    def put(directory: str) -> None:
        def elsewhere(path: t.Any, *args: t.Any, **kwargs: t.Any) -> os.stat_result:
            found = real(path, *args, **kwargs)
            if path != directory:
                return found
            fields = list(found)[:10]
            fields[2] = found.st_dev + 1
            return os.stat_result(fields)

        monkeypatch.setattr(os, "stat", elsewhere)

    return put


def test_releases_on_another_file_system_than_staging_are_refused(
    tmp_path: t.Any, store: Store, perform: t.Any, foreign: t.Callable[[str], None]
) -> None:
    foreign(store.releases)
    with pytest.raises(SeamlessError, match="are on different file systems: a release must appear in one rename"):
        stage(perform, store, tmp_path, {"type": "directory", "path": make_tree(tmp_path / "one")}, "1.0")
    assert (os.listdir(store.releases), os.listdir(store.staging)) == ([], [])


def test_a_link_is_not_switched_to_another_file_system(store: Store, releases: t.Any, perform: t.Any, foreign: t.Callable[[str], None]) -> None:
    releases("1.0", "2.0")
    perform("release_switch", root=store.root, release="1.0")
    foreign(store.releases)
    with pytest.raises(SeamlessError, match="an atomic switch needs one file system") as caught:
        perform("release_switch", root=store.root, release="2.0")
    assert caught.value.details.get("switched") is False
    assert store.link("current").release == "1.0" and not [name for name in os.listdir(store.root) if name.startswith(".seamless-link-")]


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EXDEV])
def test_without_reflinks_files_are_linked_and_where_modes_differ_copied(
    tmp_path: t.Any, store: Store, perform: t.Any, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    asked: list[int] = []

    def refuse(dummy: int, request: int, *args: t.Any) -> int:
        asked.append(request)
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "ioctl", refuse)
    stage(perform, store, tmp_path, {"type": "directory", "path": make_tree(tmp_path / "one")}, "1.0")
    second = stage(perform, store, tmp_path, {"type": "directory", "path": make_tree(tmp_path / "two", salt="new")}, "2.0")
    assert asked == [build._FICLONE] and second["files_reused"] == 5
    paths = [os.path.join(store.release_path(release), "sub", "file1") for release in ("1.0", "2.0")]
    assert os.path.samefile(*paths)
    stage(perform, store, tmp_path, {"type": "directory", "path": make_tree(tmp_path / "three", salt="newer")}, "3.0", file_mode="0600")
    assert not os.path.samefile(paths[0], os.path.join(store.release_path("3.0"), "sub", "file1"))
    assert oct(mode_of(store, "sub/file1", "3.0")) == "0o600" and oct(mode_of(store, "sub/file1")) == "0o644"
    assert unpack.scan(store.release_path("2.0")) == unpack.scan(str(tmp_path / "two"))


def test_reflinks_share_blocks_and_not_the_file(tmp_path: t.Any, store: Store, perform: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def clone(new: int, dummy: int, old: int) -> int:
        os.write(new, os.pread(old, 1 << 20, 0))
        return 0

    monkeypatch.setattr(fcntl, "ioctl", clone)
    stage(perform, store, tmp_path, {"type": "directory", "path": make_tree(tmp_path / "one")}, "1.0")
    stage(perform, store, tmp_path, {"type": "directory", "path": make_tree(tmp_path / "two", salt="new")}, "2.0")
    assert not os.path.samefile(*(os.path.join(store.release_path(release), "sub", "file1") for release in ("1.0", "2.0")))
    assert unpack.scan(store.release_path("2.0")) == unpack.scan(str(tmp_path / "two"))


def test_a_disk_that_runs_full_at_a_reflink_is_told_as_such(tmp_path: t.Any, store: Store, perform: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*dummy: t.Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    stage(perform, store, tmp_path, {"type": "directory", "path": make_tree(tmp_path / "one")}, "1.0")
    monkeypatch.setattr(fcntl, "ioctl", full)
    with pytest.raises(SeamlessError, match="ran full while 2.0 was staged"):
        stage(perform, store, tmp_path, {"type": "directory", "path": make_tree(tmp_path / "two", salt="new")}, "2.0")
    assert (os.listdir(store.releases), os.listdir(store.staging)) == (["1.0"], [])
