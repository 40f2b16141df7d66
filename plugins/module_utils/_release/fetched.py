# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import typing as t
import urllib.parse

from ansible_collections.seamless.rollout.plugins.module_utils import _fetch, _urls
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._release import prune, unpack


@contextlib.contextmanager
def tree_of(fetch: t.Mapping[str, t.Any], staging: str, *, external_links: bool = False) -> t.Iterator[str]:
    """Get the archive that *fetch* names (``url``, ``checksum``, ``strip_components``) onto this host, verify it, and yield its tree.

    A ``file://`` URL means a file of this host. What was made in *staging* is removed at the end, whatever happens.
    """
    url, checksum = str(fetch["url"]), str(fetch["checksum"])
    place = tempfile.mkdtemp(prefix="fetch-", dir=staging)
    try:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme == "file":
            archive = urllib.parse.unquote(parts.path)
            if parts.netloc or not os.path.isfile(archive):
                raise SeamlessError(f"url is {url!r}: there is no such file on this host. Use file:///path/of/the/archive, or an http or https URL.")
        else:
            archive = os.path.join(place, "archive")
            _fetch.download(url, archive)
        name = _urls.shown(url)
        _fetch.verify(archive, checksum, name)
        tree = os.path.join(place, "tree")
        os.mkdir(tree)
        strip = int(fetch.get("strip_components") or 0)
        unpack.unpack_archive(archive, tree, strip_components=strip, name=name, external_links=external_links)
        if archive.startswith(place):
            os.unlink(archive)
        yield tree
    finally:
        if os.path.isdir(os.path.join(place, "tree")):
            prune.remove_tree(os.path.join(place, "tree"))
        shutil.rmtree(place, ignore_errors=True)
