# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import ctypes
import errno
import os
import secrets

from ansible_collections.seamless.rollout.plugins.module_utils import _files
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._release.store import Store

_TEMPORARY = ".seamless-link-"
_RENAME_EXCHANGE = 2
_AT_FDCWD = -100


def point(store: Store, link: str, release: str) -> None:
    """Make *link* point to *release* in one rename(2): no reader ever finds it missing or half-made.

    The link is relative, so the tree can be moved or mounted elsewhere. Raises SeamlessError when the link did not end up
    as wanted.
    """
    target = os.path.join("releases", release)
    path = store.link_path(link)
    temporary = os.path.join(store.root, f"{_TEMPORARY}{secrets.token_hex(8)}")
    try:
        os.symlink(target, temporary)
        if os.lstat(temporary).st_dev != os.stat(store.root).st_dev or os.stat(store.releases).st_dev != os.stat(store.root).st_dev:
            raise SeamlessError(
                f"{store.releases} is on another file system than {store.root}: an atomic switch needs one file system.", switched=False
            )
        os.replace(temporary, path)
    except OSError as exc:
        raise SeamlessError(f"{path} can't be switched to {target}: {exc.strerror}. It still is what it was.", switched=False) from exc
    finally:
        if os.path.islink(temporary):
            os.unlink(temporary)
    _files.sync_directory(store.root)
    if os.readlink(path) != target or not os.path.isdir(path):
        raise SeamlessError(f"{path} reads {os.readlink(path)!r} right after it was switched to {target!r}: something else changes it.")


def sweep(store: Store) -> None:
    """Remove temporary links that an interrupted switch left behind. They are ours by their name."""
    for name in os.listdir(store.root):
        path = os.path.join(store.root, name)
        if name.startswith(_TEMPORARY) and os.path.islink(path):
            os.unlink(path)


def exchange_directory(store: Store, link: str, adopted: str) -> None:
    """Turn the real directory at *link* into release *adopted* and a link to it, in one step that no reader can see.

    renameat2(2) with RENAME_EXCHANGE swaps the prepared link and the directory. Raises SeamlessError where the kernel or the
    file system can't do that; nothing is changed then.
    """
    path = store.link_path(link)
    place = store.release_path(adopted)
    if os.path.lexists(place):
        raise SeamlessError(f"{place} is there already: it can't take what {path} holds. Choose another adopted id.", switched=False)
    os.symlink(os.path.join("releases", adopted), place)
    library = ctypes.CDLL(None, use_errno=True)
    failed = not hasattr(library, "renameat2")
    if not failed:
        failed = library.renameat2(_AT_FDCWD, os.fsencode(path), _AT_FDCWD, os.fsencode(place), _RENAME_EXCHANGE) != 0
    if failed:
        reason = os.strerror(ctypes.get_errno() or errno.ENOSYS)
        os.unlink(place)
        raise SeamlessError(
            f"{path} is a real directory and can't be swapped for a link in one step here ({reason}). Move it to {place} and link it "
            "yourself while the host is out of rotation.",
            switched=False,
        )
    _files.sync_directory(store.root)
    _files.sync_directory(store.releases)
