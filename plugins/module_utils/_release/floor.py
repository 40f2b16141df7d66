# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""The release floor: the migrations of the database that a release must know to run on it, since what older code needs is gone.

Releases have no order that could be told from their names, so a release is above the floor when it *carries* every migration that the floor names: it has
the file of the migration, or names it in the file ``squashed``, for migrations whose file was deleted long after.
"""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils import _files
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._release import lock
from ansible_collections.seamless.rollout.plugins.module_utils._release import manifest as manifests
from ansible_collections.seamless.rollout.plugins.module_utils._release.store import RELEASE_ID, USABLE_STATES, Store, iso_now

DIRECTORY = "migrations"
SQUASHED = "squashed"
# A migration of ours is one file; one of plain SQL is one file a phase.
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}"
_FILE = re.compile(rf"({_NAME}?)\.(?:ya?ml|(?:expand|backfill|verify|contract|abort)\.sql)\Z")

Floor = t.Dict[str, t.Any]

ARGUMENT_SPEC: dict[str, t.Any] = {
    "root": {"type": "path", "required": True},
    "migrations": {"type": "list", "elements": "str", "required": True},
    "release": {"type": "str", "default": ""},
    "directory": {"type": "str", "default": DIRECTORY},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "rollout_id": {"type": "str", "default": ""},
}


def check_directory(directory: str) -> str:
    """Return *directory*, or refuse one that is not a place within a release."""
    try:
        return manifests.check_path(directory)
    except SeamlessError:
        raise SeamlessError(f"the directory of the migrations is {directory!r}: use a path within the release, such as {DIRECTORY}.") from None


def name_of(file: str) -> str | None:
    """Return the name of the migration that *file* is (a part of), or None."""
    match = _FILE.match(file)
    return match.group(1) if match else None


def squashed_names(text: str) -> list[str]:
    """Return the names in a file ``squashed``: one a line, with comments after a hash."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


def carried(tree: str, directory: str = DIRECTORY) -> dict[str, str]:
    """Return the migrations that the release in *tree* carries, each with the sha256 of its file, or ``squashed``."""
    place = os.path.join(tree, check_directory(directory))
    try:
        files = sorted(os.listdir(place))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    found: dict[str, str] = {}
    if SQUASHED in files:
        with open(os.path.join(place, SQUASHED), encoding="utf-8", errors="replace") as file:
            found.update(dict.fromkeys(squashed_names(file.read()), SQUASHED))
    for name in files:
        migration = name_of(name)
        if migration and os.path.isfile(os.path.join(place, name)):
            found[migration] = manifests.hash_file(os.path.join(place, name))
    return found


def files(store: Store, release: str, directory: str = DIRECTORY) -> list[dict[str, str]]:
    """Return the migrations of *release* that are files of ours, in the order of their names, each with its text."""
    place = os.path.join(store.release_path(release), check_directory(directory))
    found = []
    for file in sorted(os.listdir(place)) if os.path.isdir(place) else []:
        name = name_of(file)
        if name and not file.endswith(".sql"):
            with open(os.path.join(place, file), encoding="utf-8", errors="replace") as text:
                found.append({"name": name, "file": os.path.join(place, file), "text": text.read()})
    return found


def path(store: Store) -> str:
    return os.path.join(store.meta, "floor.json")


def read(store: Store) -> Floor | None:
    """Return the floor of the application on this host, or None. Raises SeamlessError when its file was damaged: nobody can say then what it allows."""
    floor = _files.read_json(path(store))
    if floor is None:
        return None
    if not isinstance(floor, dict) or not isinstance(floor.get("migrations"), list):
        raise SeamlessError(
            f"{path(store)} does not say which migrations a release must carry: it was written by hand or damaged. Copy it from another host of the "
            "application."
        )
    return floor


def lacks(floor: t.Mapping[str, t.Any] | None, carries: t.Container[str]) -> list[str]:
    """Return the migrations of *floor* that a release which carries *carries* does not know."""
    return [name for name in (floor or {}).get("migrations") or [] if name not in carries]


def merged(floors: t.Iterable[t.Mapping[str, t.Any] | None]) -> Floor | None:
    """Return one floor that is as high as all of *floors*, or None where there is none."""
    known = [floor for floor in floors if floor and floor.get("migrations")]
    if not known:
        return None
    latest = max(known, key=lambda floor: str(floor.get("set_at") or ""))
    return {
        "migrations": sorted({str(name) for floor in known for name in floor["migrations"]}),
        **{key: str(latest.get(key) or "") for key in ("release", "set_at", "set_by")},
        "directory": str(latest.get("directory") or DIRECTORY),
    }


def refusal(release: str, floor: t.Mapping[str, t.Any], missing: t.Sequence[str], others: t.Sequence[str] = ()) -> str:
    """Return why *release* can't run, and what would do. *others* are releases that could."""
    named = f"release {floor['release']}, " if floor.get("release") else ""
    since = f"set at {floor['set_at']}" + (f" by {floor['set_by']}" if floor.get("set_by") else "") if floor.get("set_at") else "set"
    one = len(missing) == 1
    back = missing[0] if one else "NAME for each of them, the newest first"
    go = f"Go to one that does (here: {', '.join(others)})" if others else "Go to one that does, such as a new one with the old code's fix"
    return (
        f"release {release} is below the release floor ({named}{since}): it does not carry the migration{'' if one else 's'} {', '.join(missing)}, "
        f"and the database no longer has the shape that code without {'it' if one else 'them'} needs. {go}. While the old shape is in quarantine, "
        f"the playbook seamless.rollout.restore brings it back and lets the floor sink, with -e rollout_restore={back} "
        "(in plays of your own: migration with state: restored, then release_floor with state: absent)."
    )


def above(store: Store, floor: t.Mapping[str, t.Any]) -> list[str]:
    """Return the usable releases on this host that *floor* allows."""
    usable = [*store.foreign(), *(name for name, record in store.managed().items() if record.get("state") in USABLE_STATES)]
    directory = str(floor.get("directory") or DIRECTORY)
    return [name for name in usable if RELEASE_ID.match(name) and not lacks(floor, carried(store.release_path(name), directory))]


def effective(store: Store, given: t.Mapping[str, t.Any] | None) -> Floor | None:
    """Return the floor that counts here: this host's own, and *given*, which other hosts of the application have."""
    return merged([read(store), given])


def raise_to(store: Store, given: t.Mapping[str, t.Any] | None) -> None:
    """Write what *given* demands beyond this host's own floor: a new host has none yet."""
    if given and lacks(given, (read(store) or {}).get("migrations") or []):
        store.create()
        with lock.guarded(store):
            write(store, effective(store, given))


def insist(store: Store, release: str, floor: t.Mapping[str, t.Any] | None) -> None:
    """Refuse *release*, which is on this host, where it is below *floor*."""
    if not floor:
        return
    missing = lacks(floor, carried(store.release_path(release), str(floor.get("directory") or DIRECTORY)))
    if missing:
        raise SeamlessError(refusal(release, floor, missing, above(store, floor)), switched=False, floor=dict(floor))


def write(store: Store, floor: t.Mapping[str, t.Any] | None) -> bool:
    """Make *floor* the floor of this host; None or one without migrations is none. Returns whether anything changed."""
    standing = read(store)
    if not floor or not floor["migrations"]:
        if standing is None:
            return False
        os.unlink(path(store))
        _files.sync_directory(store.meta)
        return True
    if standing is not None and set(standing["migrations"]) == set(floor["migrations"]):
        return False
    _files.make_directory(store.meta)
    _files.write_json(path(store), dict(floor))
    return True


def run(params: dict[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    """Raise the floor of an application on this host by migrations, or lower it by them (``state: absent``)."""
    store = Store(params["root"])
    if not params["migrations"] or not all(re.match(rf"{_NAME}\Z", name) for name in params["migrations"]):
        raise SeamlessError(f"migrations is {params['migrations']!r}: give the names of migrations, such as 2026_11_22_01_user_name.")
    check_directory(params["directory"])
    if check_mode or params["state"] == "absent" and not os.path.exists(path(store)):
        return _move(store, params, check_mode=True)
    _files.make_directory(store.meta)
    with lock.guarded(store):
        return _move(store, params, check_mode=False)


def _move(store: Store, params: t.Mapping[str, t.Any], *, check_mode: bool) -> dict[str, t.Any]:
    standing = read(store)
    before, named = set((standing or {}).get("migrations") or []), set(params["migrations"])
    after = sorted(before | named if params["state"] == "present" else before - named)
    if set(after) == before:
        return {"changed": False, "floor": standing, "diff": {"before": {"floor": after}, "after": {"floor": after}}}
    kept = params if params["state"] == "present" else standing or {}
    floor = {
        "migrations": after,
        "release": str(kept.get("release") or ""),
        "directory": str(kept.get("directory") or DIRECTORY),
        "set_at": iso_now(),
        "set_by": params["rollout_id"],
    }
    current = store.link("current")
    if params["state"] == "present" and current.kind == "link" and current.release:
        # The gate saw it otherwise, or nobody asked it.
        insist(store, current.release, floor)
    if not check_mode:
        write(store, floor)
        store.note("floor", state=params["state"], migrations=sorted(named), release=params["release"], rollout_id=params["rollout_id"])
    return {"changed": True, "floor": floor if after else None, "diff": {"before": {"floor": sorted(before)}, "after": {"floor": after}}}
