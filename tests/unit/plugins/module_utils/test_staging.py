# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import io
import os
import shutil
import stat
import tarfile
import threading
import typing as t
import zipfile

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._release import manifest, shared, unpack
from ansible_collections.seamless.rollout.plugins.module_utils._release.manifest import Entry
from ansible_collections.seamless.rollout.plugins.module_utils._release.store import Store
from ansible_collections.seamless.rollout.plugins.plugin_utils import _bundle, _source
from hypothesis import given
from hypothesis import strategies as st

SHA = st.sampled_from(["a" * 64, "b" * 64, "c" * 64])
NAMES = st.sampled_from(["f", "g", "h", "i", "j"])
MANIFESTS = st.dictionaries(NAMES, st.tuples(SHA, st.sampled_from([0o644, 0o755])), max_size=5).map(
    lambda items: {name: Entry(name, "f", mode, 1, sha) for name, (sha, mode) in items.items()}
)


@given(MANIFESTS, MANIFESTS)
def test_a_delta_turns_the_base_into_the_target(base: manifest.Manifest, target: manifest.Manifest) -> None:
    result = manifest.apply_delta(base, manifest.delta(base, target))
    assert result == target
    assert manifest.digest_of(result) == manifest.digest_of(dict(reversed(list(target.items()))))


@given(st.lists(st.binary(max_size=300), max_size=6))
def test_a_bundle_gives_back_what_was_put_in(blobs: list[bytes]) -> None:
    contents = [hashlib.sha256(blob).hexdigest() for blob in blobs]
    source = io.BytesIO(b"".join(unpack.write_bundle({"contents": contents}, blobs)))
    assert unpack.read_header(source) == {"contents": contents}
    assert list(unpack.read_blobs(source, contents)) == list(zip(contents, blobs))


def test_a_bundle_that_breaks_off_or_lies_is_noticed() -> None:
    whole = b"".join(unpack.write_bundle({"contents": ["0" * 64]}, [b"data" * 100]))
    for data, message in ((whole[:-5], "ends before its time"), (whole, "does not hold")):
        source = io.BytesIO(data)
        header = unpack.read_header(source)
        with pytest.raises(SeamlessError, match=message):
            list(unpack.read_blobs(source, header["contents"]))


def tar_with(tmp_path: t.Any, *members: tuple[str, bytes, str, int]) -> str:
    """Write a tar with members (name, type, linkname, mode)."""
    path = str(tmp_path / "bad.tar.gz")
    with tarfile.open(path, "w:gz") as archive:
        for name, kind, target, mode in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.mode = kind, target, mode
            data = b"x" if kind == tarfile.REGTYPE else b""
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("../evil", tarfile.REGTYPE, "", 0o644)], "leave the release"),
        ([("/etc/evil", tarfile.REGTYPE, "", 0o644)], "leave the release"),
        ([("a/../../evil", tarfile.REGTYPE, "", 0o644)], "leave the release"),
        ([("link", tarfile.SYMTYPE, "/etc/passwd", 0o777)], "points out of the release"),
        ([("link", tarfile.SYMTYPE, "../../up", 0o777)], "points out of the release"),
        ([("dir", tarfile.SYMTYPE, ".", 0o777), ("dir/evil", tarfile.REGTYPE, "", 0o644)], "behind a link"),
        ([("hard", tarfile.LNKTYPE, "../../etc/passwd", 0o644)], "leave the release"),
        ([("device", tarfile.CHRTYPE, "", 0o644)], "device, fifo or socket"),
        ([("fifo", tarfile.FIFOTYPE, "", 0o644)], "device, fifo or socket"),
        ([("root-shell", tarfile.REGTYPE, "", 0o4755)], "setuid"),
    ],
)
def test_archives_that_would_do_harm_are_refused_before_anything_is_written(tmp_path: t.Any, members: t.Any, message: str) -> None:
    target = tmp_path / "out"
    target.mkdir()
    with pytest.raises(SeamlessError, match=message):
        unpack.unpack_archive(tar_with(tmp_path, ("fine", tarfile.REGTYPE, "", 0o644), *members), str(target))
    assert os.listdir(target) == []


def test_zip_members_that_leave_the_tree_are_refused(tmp_path: t.Any) -> None:
    path = str(tmp_path / "bad.zip")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../evil", "x")
    (tmp_path / "out").mkdir()
    with pytest.raises(SeamlessError, match="leave the release"):
        unpack.unpack_archive(path, str(tmp_path / "out"))


def test_tar_and_zip_give_the_same_release(tmp_path: t.Any) -> None:
    tree = make_tree(tmp_path / "tree")
    with tarfile.open(tmp_path / "a.tar.xz", "w:xz") as tar:
        tar.add(tree, arcname="shop-1.0")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for directory, names, files in os.walk(tree):
            for name in names:
                archive.write(os.path.join(directory, name), "shop-1.0/" + os.path.relpath(os.path.join(directory, name), tree))
            for name in files:
                full = os.path.join(directory, name)
                inner = "shop-1.0/" + os.path.relpath(full, tree)
                if os.path.islink(full):
                    info = zipfile.ZipInfo(inner)
                    info.external_attr = (stat.S_IFLNK | 0o777) << 16
                    archive.writestr(info, os.readlink(full))
                else:
                    archive.write(full, inner)
    digests = set()
    for name in ("a.tar.xz", "a.zip"):
        out = tmp_path / f"out-{name}"
        out.mkdir()
        unpack.unpack_archive(str(tmp_path / name), str(out), strip_components=1)
        digests.add(manifest.digest_of(unpack.scan(str(out))))
    assert digests == {manifest.digest_of(unpack.scan(tree))}


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_an_archive_is_the_same_release_under_every_umask(tmp_path: t.Any, kind: str) -> None:
    shutil.make_archive(str(tmp_path / "a"), "gztar" if kind == "tar" else "zip", make_tree(tmp_path / "tree"))
    path = str(tmp_path / ("a.tar.gz" if kind == "tar" else "a.zip"))
    digests = set()
    before = os.umask(0o022)
    try:
        for mask in (0o022, 0o077, 0o002):
            os.umask(mask)
            out = tmp_path / f"{mask}"
            out.mkdir()
            unpack.unpack_archive(path, str(out))
            digests.add(manifest.digest_of(unpack.scan(str(out))))
            assert {stat.S_IMODE(os.stat(entry).st_mode) for entry in os.scandir(out) if entry.is_dir()} == {0o755}
    finally:
        os.umask(before)
    assert len(digests) == 1


def make_tree(path: t.Any, files: int = 5, salt: str = "") -> str:
    os.makedirs(path / "sub" / "deep")
    for number in range(files):
        (path / "sub" / f"file{number}").write_text(f"content {number} {salt if number == 0 else ''}" * 50)
    (path / "run").write_text("#!/bin/sh\n")
    os.chmod(path / "run", 0o755)
    os.symlink("sub/file1", path / "link")
    return str(path)


def test_a_scan_reads_again_what_only_looks_unchanged(tmp_path: t.Any) -> None:
    tree = make_tree(tmp_path / "tree")
    file = tmp_path / "tree" / "sub" / "file1"
    before = os.stat(file)
    known = {"sub/file1": [before.st_size, before.st_mtime_ns, before.st_ctime_ns, before.st_ino, "f" * 64]}
    assert unpack.scan(tree, known=known)["sub/file1"].data == "f" * 64
    file.write_text(file.read_text().replace("content", "CONTENT"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert unpack.scan(tree, known=known)["sub/file1"].data != "f" * 64


def stage(
    perform: t.Any, store: Store, tmp_path: t.Any, origin: dict[str, t.Any], release: str, *, controller: str = "state", ask: bool = False, **options: t.Any
) -> dict[str, t.Any]:
    """Stage as the action does; *exchanges* in the result are the bundles' sizes."""
    state = str(tmp_path / controller)
    resolved = _source.resolve(origin, app="shop", release=release, rollout_id=f"id-{release}", state_dir=state)
    exchanges: list[int] = []

    def send(bundle: bytes | None) -> dict[str, t.Any]:
        exchanges.append(len(bundle or b""))
        attachment = None if bundle is None else io.BytesIO(bundle)
        params = {"root": store.root, "release": release, "digest": resolved.digest, "_attachment": attachment, "min_free": "0", **options}
        return dict(perform("release_stage", **params))

    digests = None if ask else [str(record["digest"]) for record in store.managed().values()]
    return {**_bundle.ship(resolved, state, digests, send), "exchanges": exchanges}


def test_staging_sends_only_what_the_host_lacks(tmp_path: t.Any, store: Store, perform: t.Any) -> None:
    first = stage(perform, store, tmp_path, {"type": "directory", "path": make_tree(tmp_path / "one")}, "1.0")
    assert (first["changed"], first["files_sent"], first["base"]) == (True, 6, None)
    second = stage(perform, store, tmp_path, {"type": "directory", "path": make_tree(tmp_path / "two", salt="new")}, "2.0")
    assert (second["files_sent"], second["files_reused"], second["base"]) == (1, 5, "1.0")
    assert unpack.scan(store.release_path("2.0")) == unpack.scan(str(tmp_path / "two"))
    assert os.listdir(store.staging) == []
    again = stage(perform, store, tmp_path, {"type": "directory", "path": str(tmp_path / "two")}, "2.0")
    assert not again["changed"]


def test_a_file_that_was_tampered_with_is_asked_for_and_never_reused(tmp_path: t.Any, store: Store, perform: t.Any) -> None:
    stage(perform, store, tmp_path, {"type": "directory", "path": make_tree(tmp_path / "one")}, "1.0")
    with open(os.path.join(store.release_path("1.0"), "sub", "file3"), "a", encoding="utf-8") as file:
        file.write("tampered")
    result = stage(perform, store, tmp_path, {"type": "directory", "path": make_tree(tmp_path / "two", salt="new")}, "2.0")
    assert len(result["exchanges"]) == 2 and result["files_sent"] == 2
    assert unpack.scan(store.release_path("2.0")) == unpack.scan(str(tmp_path / "two"))
    assert os.listdir(store.staging) == []


@pytest.mark.parametrize("ask", [False, True])
def test_a_controller_that_knows_nothing_of_the_host_asks_before_it_sends(tmp_path: t.Any, store: Store, perform: t.Any, ask: bool) -> None:
    first = stage(perform, store, tmp_path, {"type": "directory", "path": make_tree(tmp_path / "one", files=200)}, "1.0", ask=ask)
    assert len(first["exchanges"]) == 1 + ask and first["files_sent"] == 201
    second = stage(perform, store, tmp_path, {"type": "directory", "path": make_tree(tmp_path / "two", files=200, salt="x")}, "2.0", controller="b", ask=ask)
    assert (second["files_sent"], second["files_reused"]) == (1, 200)
    assert len(second["exchanges"]) == 2 + ask
    assert unpack.scan(store.release_path("2.0")) == unpack.scan(str(tmp_path / "two"))


def test_links_out_of_the_release_are_refused_until_they_are_asked_for(tmp_path: t.Any, store: Store, perform: t.Any) -> None:
    tree = make_tree(tmp_path / "one")
    os.makedirs(os.path.join(tree, "venv", "bin"))
    os.symlink("/usr/bin/python3", os.path.join(tree, "venv", "bin", "python3"))
    archive = str(tmp_path / "venv.tar.gz")
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tree, arcname=".")
    with open(archive, "rb") as file:
        checksum = f"sha256:{hashlib.sha256(file.read()).hexdigest()}"
    sources: list[dict[str, t.Any]] = [{"type": "directory", "path": tree}, {"type": "archive", "path": archive, "checksum": checksum}]
    for number, source in enumerate(sources):
        with pytest.raises(SeamlessError, match="/usr/bin/python3, which points out of the release.*external_links: true"):
            stage(perform, store, tmp_path, source, f"{number}.0")
        kept = {**source, "external_links": True}
        stage(perform, store, tmp_path, kept, f"{number}.0", source=_source.describe(kept))
        assert os.readlink(os.path.join(store.release_path(f"{number}.0"), "venv/bin/python3")) == "/usr/bin/python3"
    with pytest.raises(SeamlessError, match="external_links is 'yes': use true or false"):
        _source.validate_source({**sources[0], "external_links": "yes"})


def test_nothing_is_shared_through_a_link_of_the_release(tmp_path: t.Any, store: Store, perform: t.Any) -> None:
    tree = make_tree(tmp_path / "one")
    (tmp_path / "elsewhere" / "uploads").mkdir(parents=True)
    (tmp_path / "elsewhere" / "uploads" / "precious").touch()
    os.symlink(tmp_path / "elsewhere", os.path.join(tree, "var"))
    source = {"type": "directory", "path": tree, "external_links": True}
    with pytest.raises(SeamlessError, match="the release has a link at var"):
        stage(perform, store, tmp_path, source, "1.0", source=_source.describe(source), linked_dirs=["var/uploads"])
    assert os.listdir(tmp_path / "elsewhere" / "uploads") == ["precious"] and os.listdir(store.releases) == []


def test_other_content_under_the_same_name_is_refused(tmp_path: t.Any, store: Store, perform: t.Any) -> None:
    stage(perform, store, tmp_path, {"type": "directory", "path": make_tree(tmp_path / "one")}, "1.0")
    with pytest.raises(SeamlessError, match="never changed"):
        perform("release_stage", root=store.root, release="1.0", digest="f" * 64)


def test_shared_paths_are_linked_and_seeded_once(tmp_path: t.Any, store: Store, perform: t.Any) -> None:
    tree = tmp_path / "one"
    make_tree(tree)
    (tree / "uploads").mkdir()
    (tree / "uploads" / "first.txt").write_text("seed")
    source = {"type": "directory", "path": str(tree)}
    with pytest.raises(SeamlessError, match="linked_files are missing.*config/.env"):
        stage(perform, store, tmp_path, source, "1.0", linked_files=["config/.env"])
    os.makedirs(os.path.join(store.shared, "config"))
    with open(os.path.join(store.shared, "config", ".env"), "w", encoding="utf-8") as file:
        file.write("A=1")
    result = stage(perform, store, tmp_path, source, "1.0", linked_files=["config/.env"], linked_dirs=["uploads", "var/log"])
    assert "uploads" in result["warnings"][0]
    for name, content in (("config/.env", "A=1"), ("uploads/first.txt", "seed")):
        with open(os.path.join(store.release_path("1.0"), name), encoding="utf-8") as file:
            assert file.read() == content
    assert os.readlink(os.path.join(store.release_path("1.0"), "var/log")) == "../../../shared/var/log"
    assert os.path.isdir(os.path.join(store.release_path("1.0"), "var/log"))


def test_what_a_release_brings_as_shared_content_gets_the_owner_and_is_there_in_whole(
    tmp_path: t.Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create()
    tree = tmp_path / "one"
    (tree / "storage" / "logs").mkdir(parents=True)
    (tree / "storage" / "logs" / ".gitignore").write_text("*")
    (tree / "storage" / "last").symlink_to("logs")
    given: list[tuple[str, int, int, bool]] = []

    def chown(path: str, uid: int, gid: int, follow_symlinks: bool = True) -> None:
        given.append((os.path.relpath(path, store.shared).partition("tree")[2], uid, gid, follow_symlinks))

    monkeypatch.setattr(os, "chown", chown)
    shared.make_links(store, str(tree), ["storage"], [], (33, 44))
    assert sorted(given) == sorted((path, 33, 44, False) for path in ("", "/logs", "/last", "/logs/.gitignore"))
    assert os.listdir(store.shared) == ["storage"] and os.readlink(os.path.join(store.shared, "storage", "last")) == "logs"
    (tmp_path / "two" / "data").mkdir(parents=True)
    (tmp_path / "two" / "data" / "a").write_text("a")

    def refused(*dummy: t.Any, **named: t.Any) -> None:
        raise PermissionError("no")

    monkeypatch.setattr(os, "chown", refused)
    with pytest.raises(PermissionError):
        shared.make_links(store, str(tmp_path / "two"), ["data"], [], (33, 44))
    assert os.listdir(store.shared) == ["storage"]


@pytest.mark.parametrize(
    ("dirs", "files", "message"),
    [(["../up"], [], "inside the release"), (["/abs"], [], "inside the release"), (["a", "a/b"], [], "lies inside a"), (["a"], ["a"], "stands twice")],
)
def test_linked_paths_that_make_no_sense_are_refused(dirs: list[str], files: list[str], message: str) -> None:
    with pytest.raises(SeamlessError, match=message):
        shared.check_names(dirs, files)


def test_a_full_disk_is_refused_with_numbers_before_anything_is_written(tmp_path: t.Any, store: Store, perform: t.Any) -> None:
    source = {"type": "directory", "path": make_tree(tmp_path / "one")}
    resolved = _source.resolve(source, app="shop", release="1.0", rollout_id="x", state_dir=str(tmp_path / "state"))
    target = _source.load_manifest(str(tmp_path / "state"), resolved.digest) or {}
    bundle = _bundle.make_bundle(resolved, target, _bundle.Base(None, {}), str(tmp_path / "state"), sorted(manifest.contents(target)))
    with pytest.raises(SeamlessError, match=r"GiB are free.*min_free"):
        perform("release_stage", root=store.root, release="1.0", digest=resolved.digest, _attachment=io.BytesIO(bundle), min_free="900T")
    assert os.listdir(store.releases) == []


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"type": "directry", "path": "x"}, "Did you mean directory"),
        ({"type": "directory"}, "has no path"),
        ({"type": "directory", "path": "/nowhere/at/all"}, "is not a directory"),
        ({"type": "git", "repo": "x"}, "needs repo and ref"),
        ({"type": "archive", "path": "a.tgz", "checksum": "md5:1"}, "use sha256:"),
        ({"type": "url", "url": "http://198.51.100.1/a.tgz"}, "has no checksum"),
        ({"type": "url", "url": "/srv/a.tgz", "checksum": f"sha256:{'0' * 64}"}, "file:///path"),
        ({"type": "url", "url": "http://198.51.100.1/a.tgz", "checksum": f"sha256:{'0' * 64}", "build": "make"}, "'build', which means nothing"),
        ({"type": "directory", "path": "x", "chksum": "y"}, "means nothing"),
    ],
)
def test_sources_that_cannot_work_are_refused(source: dict[str, t.Any], message: str, tmp_path: t.Any) -> None:
    with pytest.raises(SeamlessError, match=message):
        _source.resolve(source, app="shop", release="1", rollout_id="", state_dir=str(tmp_path))


def test_a_missing_checksum_is_answered_with_the_right_one(tmp_path: t.Any) -> None:
    tree = make_tree(tmp_path / "tree")
    archive = str(tmp_path / "a.tar.gz")
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tree, arcname=".")
    with pytest.raises(SeamlessError, match="add checksum") as caught:
        _source.validate_source({"type": "archive", "path": archive})
    checksum = str(caught.value).split('"')[1]
    resolved = _source.resolve({"type": "archive", "path": archive, "checksum": checksum}, app="a", release="1", rollout_id="", state_dir=str(tmp_path / "s"))
    assert resolved.digest == manifest.digest_of(unpack.scan(tree))
    with pytest.raises(SeamlessError, match="has the checksum"):
        wrong = {"type": "archive", "path": archive, "checksum": "sha256:" + "0" * 64}
        _source.resolve(wrong, app="a", release="1", rollout_id="", state_dir=str(tmp_path / "s"))


def test_a_branch_is_pinned_for_the_whole_rollout(tmp_path: t.Any) -> None:
    import subprocess

    repo = tmp_path / "repo"
    repo.mkdir()

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
        return subprocess.run(["git", "-C", str(repo), *identity, *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

    git("init", "-q", "-b", "main")
    (repo / "app.py").write_text("one")
    git("add", ".")
    git("commit", "-qm", "one")
    source = {"type": "git", "repo": str(repo), "ref": "main"}
    first = _source.resolve(source, app="a", release="1", rollout_id="r1", state_dir=str(tmp_path / "s"))
    (repo / "app.py").write_text("two")
    git("commit", "-qam", "two")
    assert _source.resolve(source, app="a", release="1", rollout_id="r1", state_dir=str(tmp_path / "s")) == first
    later = _source.resolve(source, app="a", release="2", rollout_id="r2", state_dir=str(tmp_path / "s"))
    assert (later.revision, later.digest != first.digest) == (git("rev-parse", "main"), True)
    with pytest.raises(SeamlessError, match="no such branch"):
        _source.resolve({**source, "ref": "nope"}, app="a", release="3", rollout_id="r3", state_dir=str(tmp_path / "s"))


def test_a_build_runs_once_in_a_copy(tmp_path: t.Any) -> None:
    tree = make_tree(tmp_path / "tree")
    source = {"type": "directory", "path": tree, "build": "echo built > artifact"}
    resolved = _source.resolve(source, app="a", release="1", rollout_id="r", state_dir=str(tmp_path / "s"))
    assert os.path.exists(os.path.join(resolved.tree, "artifact"))
    assert not os.path.exists(os.path.join(tree, "artifact"))
    with pytest.raises(SeamlessError, match="ended with 3"):
        _source.resolve({**source, "build": "exit 3"}, app="a", release="2", rollout_id="r2", state_dir=str(tmp_path / "s"))


def test_what_is_excluded_is_the_same_with_a_build(tmp_path: t.Any) -> None:
    for name in ("config/local.yml", "config/all.yml", "lib/tmp/kept", "tmp/gone", "tests/a/b"):
        os.makedirs(os.path.dirname(tmp_path / "tree" / name), exist_ok=True)
        (tmp_path / "tree" / name).write_text(name)
    source = {"type": "directory", "path": str(tmp_path / "tree"), "exclude": ["config/local.yml", "tests/*", "tmp"]}
    found = []
    for more in ({}, {"build": "true"}):
        resolved = _source.resolve({**source, **more}, app="a", release="1", rollout_id=f"r{len(found)}", state_dir=str(tmp_path / f"s{len(found)}"))
        found.append(resolved.digest)
    assert found[0] == found[1] and not os.path.exists(os.path.join(resolved.tree, "config", "local.yml"))
    assert os.path.exists(os.path.join(resolved.tree, "lib", "tmp", "kept"))


def test_credentials_are_never_written_down() -> None:
    described = _source.describe({"type": "git", "repo": "https://user:secret@git.example.com/x.git?token=abc", "ref": "v1"})
    assert "secret" not in str(described)
    assert "abc" not in str(described)


class Artifacts(http.server.BaseHTTPRequestHandler):
    """Serves one archive to those who say the right password."""

    path_of_archive = ""

    def do_GET(self) -> None:
        allowed = self.headers.get("Authorization") == f"Basic {base64.b64encode(b'me:s e').decode()}"
        self.send_response(200 if allowed else 401)
        self.end_headers()
        if allowed:
            with open(self.path_of_archive, "rb") as file:
                self.wfile.write(file.read())

    def log_message(self, *dummy: t.Any) -> None:
        pass


@pytest.fixture
def artifact(tmp_path: t.Any) -> tuple[str, str]:
    make_tree(tmp_path / "shop-1.0")
    path = str(tmp_path / "shop-1.0.tar.gz")
    with tarfile.open(path, "w:gz") as archive:
        archive.add(tmp_path / "shop-1.0", "shop-1.0")
    with open(path, "rb") as file:
        return path, f"sha256:{hashlib.sha256(file.read()).hexdigest()}"


@contextlib.contextmanager
def serving(path: str) -> t.Iterator[str]:
    """Serve the archive at *path*; yields its URL, with the password."""
    handler = type("Handler", (Artifacts,), {"path_of_archive": path})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://me:s%20e@127.0.0.1:{server.server_address[1]}/shop-1.0.tar.gz"
        server.shutdown()


def test_the_controller_fetches_an_archive_and_ships_what_it_had_the_sum_of(
    artifact: tuple[str, str], store: Store, perform: t.Any, tmp_path: t.Any
) -> None:
    path, checksum = artifact
    with serving(path) as url:
        source = {"type": "archive", "url": url, "checksum": checksum, "strip_components": 1}
        resolved = _source.resolve(source, app="shop", release="1.0", rollout_id="id", state_dir=str(tmp_path / "s"))
        assert resolved.digest == manifest.digest_of(unpack.scan(str(tmp_path / "shop-1.0")))
        assert stage(perform, store, tmp_path, source, "1.0")["files_sent"] == 6
        refusals = {
            "has the checksum sha256:": {"checksum": f"sha256:{'0' * 64}"},
            "has no checksum": {"checksum": ""},
            "answered 401": {"url": url.replace("s%20e", "other")},
        }
        for message, change in refusals.items():
            with pytest.raises(SeamlessError, match=message) as caught:
                stage(perform, store, tmp_path, {**source, **change}, "2.0", controller=message)
            assert "s%20e" not in str(caught.value) and "other" not in str(caught.value)
    with pytest.raises(SeamlessError, match="shop-1.0.tar.gz can't be downloaded") as caught:
        stage(perform, store, tmp_path, source, "2.0", controller="closed")
    assert "s%20e" not in str(caught.value) and os.listdir(store.releases) == ["1.0"]
    for kind in ("archive", "url"):
        with pytest.raises(SeamlessError) as caught:
            _source.validate_source({"type": kind, "url": "ftp://me:s%20e@127.0.0.1/shop.tgz"})
        assert "s%20e" not in str(caught.value)


def test_a_host_fetches_an_archive_by_itself(artifact: tuple[str, str], store: Store, perform: t.Any, tmp_path: t.Any) -> None:
    path, checksum = artifact
    with serving(path) as url:
        source = {"type": "url", "url": url, "checksum": checksum, "strip_components": 1}
        options = {
            "root": store.root, "release": "1.0", "source": _source.describe(source), "min_free": "0",
            "fetch": {key: source[key] for key in ("url", "checksum", "strip_components")},
        }
        assert perform("release_stage", check_mode=True, **options)["changed"]
        assert os.listdir(store.releases) == []
        staged = perform("release_stage", **options)
    assert staged["changed"] and staged["digest"] == manifest.digest_of(unpack.scan(str(tmp_path / "shop-1.0")))
    assert sorted(os.listdir(store.release_path("1.0"))) == sorted(os.listdir(tmp_path / "shop-1.0"))
    record = store.record("1.0")
    assert record is not None and record["source"]["checksum"] == checksum and "s%20e" not in str(record)
    assert not perform("release_stage", **options)["changed"]
    other = {**options, "fetch": {**options["fetch"], "checksum": f"sha256:{'0' * 64}"}}
    with pytest.raises(SeamlessError, match="made of an archive with the checksum.*never changed"):
        perform("release_stage", **other)
    assert os.listdir(store.staging) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"url": "file:///nowhere/shop.tgz"}, "no such file on this host"),
        ({"url": "http://127.0.0.1:9/shop.tgz"}, "can't be downloaded"),
        ({"checksum": f"sha256:{'0' * 64}"}, "has the checksum sha256:"),
        ({"strip_components": 9}, "is empty"),
    ],
)
def test_an_archive_that_cannot_be_had_leaves_nothing(
    change: dict[str, t.Any], message: str, artifact: tuple[str, str], store: Store, perform: t.Any
) -> None:
    fetch = {"url": f"file://{artifact[0]}", "checksum": artifact[1], **change}
    with pytest.raises(SeamlessError, match=message):
        perform("release_stage", root=store.root, release="1.0", fetch=fetch, source={}, min_free="0")
    assert (os.listdir(store.releases), os.listdir(store.staging)) == ([], [])


def test_an_archive_on_the_host_that_leaves_its_tree_is_refused(store: Store, perform: t.Any, tmp_path: t.Any) -> None:
    path = tar_with(tmp_path, ("../evil", tarfile.REGTYPE, "", 0o644))
    with open(path, "rb") as file:
        checksum = f"sha256:{hashlib.sha256(file.read()).hexdigest()}"
    with pytest.raises(SeamlessError, match="evil"):
        perform("release_stage", root=store.root, release="1.0", fetch={"url": f"file://{path}", "checksum": checksum}, source={}, min_free="0")
    assert os.listdir(store.staging) == []
