# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils import _files
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._release.store import Store, boot_id, iso_now

ARGUMENT_SPEC: dict[str, t.Any] = {
    "root": {"type": "path", "required": True},
    "state": {"type": "str", "choices": ["held", "released"], "default": "held"},
    "lock_id": {"type": "str", "required": True},
    "app": {"type": "str", "default": ""},
    "owner": {"type": "str", "default": ""},
    "reason": {"type": "str", "default": ""},
    "ttl": {"type": "int", "default": 3600},
    "break": {"type": "bool", "default": False},
    "takeover": {"type": "list", "elements": "str", "default": []},
    "survey": {"type": "dict"},
}


@contextlib.contextmanager
def _guarded(store: Store) -> t.Iterator[None]:
    """Let one process at a time decide about the lock. The kernel lets go of this guard when the process dies."""
    handle = os.open(os.path.join(store.meta, "lock.guard"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def read(store: Store) -> dict[str, t.Any] | None:
    """Return the lock with the seconds since its last sign of life, by a clock of this host that nobody sets, or None."""
    lock: dict[str, t.Any] | None = _files.read_json(store.lock_path)
    if lock is None:
        return None
    if lock.get("boot") == boot_id() and "monotonic" in lock:
        idle = max(0.0, time.monotonic() - float(lock["monotonic"]))
    else:
        idle = max(0.0, time.time() - os.stat(store.lock_path).st_mtime)
    return {**lock, "idle": round(idle, 1), "expired": idle > float(lock.get("ttl", 3600))}


def refusal(store: Store, lock: t.Mapping[str, t.Any]) -> SeamlessError:
    reason = f", reason: {lock['reason']}" if lock.get("reason") else ""
    left = max(0, round(float(lock.get("ttl", 3600)) - float(lock["idle"])))
    return SeamlessError(
        f"{store.root} is locked by rollout {lock.get('id')} of {lock.get('owner') or 'unknown'} since {lock.get('at')}{reason}. "
        f"Wait for it, or for {left} s without a sign of life from it, or take the lock with break: true "
        "(rollout_break_lock: true in the playbooks).",
        lock=dict(lock),
    )


def hold(store: Store, params: t.Mapping[str, t.Any], check_mode: bool) -> tuple[dict[str, t.Any], bool, list[str]]:
    """Take the lock, or show that we still live when we hold it. Returns the lock, whether it is newly taken, and warnings."""
    warnings = []
    wanted = {
        "id": params["lock_id"],
        "app": params["app"],
        "owner": params["owner"],
        "reason": params["reason"],
        "ttl": params["ttl"],
        "at": iso_now(),
        "boot": boot_id(),
        "monotonic": time.monotonic(),
    }
    if check_mode:
        held = read(store)
        if held and held["id"] != params["lock_id"] and not (held["expired"] or params["break"] or held["id"] in params["takeover"]):
            raise refusal(store, held)
        return wanted, held is None, []
    store.create()
    with _guarded(store):
        held = read(store)
        if held and held["id"] == params["lock_id"]:
            _files.write_json(store.lock_path, {**held, **{key: wanted[key] for key in ("ttl", "boot", "monotonic")}})
            return held, False, []
        if held:
            if held["id"] in params["takeover"]:
                store.note("lock_taken_over", rollout_id=params["lock_id"], from_id=held["id"], why="its process is gone")
            elif held["expired"]:
                warnings.append(f"the lock of rollout {held['id']} ({held.get('owner')}) had run out and was taken over")
                store.note("lock_taken_over", rollout_id=params["lock_id"], from_id=held["id"], why="expired")
            elif params["break"]:
                warnings.append(f"the lock of rollout {held['id']} ({held.get('owner')}) was broken")
                store.note("lock_broken", rollout_id=params["lock_id"], from_id=held["id"], by=params["owner"])
            else:
                raise refusal(store, held)
        _files.write_json(store.lock_path, wanted)
    return wanted, True, warnings


def release(store: Store, lock_id: str, check_mode: bool) -> bool:
    """Give the lock back if *lock_id* holds it; another's lock is never touched. Returns whether there was one of ours."""
    if not os.path.exists(store.lock_path):
        return False
    if check_mode:
        held = read(store)
        return bool(held and held["id"] == lock_id)
    with _guarded(store):
        held = read(store)
        if not held or held["id"] != lock_id:
            return False
        os.unlink(store.lock_path)
        _files.sync_directory(store.meta)
    return True


def run(params: dict[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    """Hold or release the lock of an application on this host; read the host in the same call where ``survey`` is given."""
    store = Store(params["root"])
    if params["state"] == "released":
        return {"changed": False, "lock_changed": release(store, params["lock_id"], check_mode), "lock": read(store), "survey": None}
    if params["ttl"] < 10:
        raise SeamlessError(f"ttl is {params['ttl']}: use at least 10 seconds, or the lock would run out under a living rollout.")
    lock, taken, warnings = hold(store, params, check_mode)
    survey = None
    if params["survey"] is not None:
        from ansible_collections.seamless.rollout.plugins.module_utils._release import info

        survey = info.survey(store, params["survey"])
    return {"changed": False, "lock_changed": taken, "lock": lock, "survey": survey, "warnings": warnings}
