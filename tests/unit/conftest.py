# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils import _operations
from ansible_collections.seamless.rollout.plugins.module_utils._release.store import Store
from hypothesis import settings

# A busy machine is no defect of what is tested.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

Perform = t.Callable[..., t.Dict[str, t.Any]]


def with_defaults(operation: str, **params: t.Any) -> dict[str, t.Any]:
    spec = _operations.load(operation).ARGUMENT_SPEC
    unknown = set(params) - set(spec) - {"_attachment"}
    assert not unknown, f"{operation} has no {unknown}"
    return {**{name: option.get("default") for name, option in spec.items()}, **params}


@pytest.fixture
def perform() -> Perform:
    """Run an operation with its defaults filled in, as both the module and the light transport do."""

    def run(operation: str, check_mode: bool = False, **params: t.Any) -> dict[str, t.Any]:
        result: dict[str, t.Any] = _operations.load(operation).run(with_defaults(operation, **params), check_mode)
        return result

    return run


@pytest.fixture
def store(tmp_path: t.Any) -> Store:
    made = Store(str(tmp_path / "shop"))
    made.create()
    return made


def add_release(store: Store, release: str, **record: t.Any) -> None:
    """Put a finished release on the host, as staging leaves it."""
    os.mkdir(store.release_path(release))
    with open(os.path.join(store.release_path(release), "VERSION"), "w", encoding="utf-8") as file:
        file.write(release)
    store.save({"id": release, "sequence": store.next_sequence(), "state": "ready", "digest": f"digest-{release}", **record})


@pytest.fixture
def releases(store: Store) -> t.Callable[..., None]:
    def add(*names: str, **record: t.Any) -> None:
        for name in names:
            add_release(store, name, **record)

    return add
