# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import contextlib
import os
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils import _files
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._release.store import Store, boot_id, iso_now

ORDERS = ("pause", "resume", "promote", "stop", "abort")
POLICIES = ("reject", "wait", "supersede")

ARGUMENT_SPEC: dict[str, t.Any] = {
    "root": {"type": "path", "required": True},
    "state": {"type": "str", "choices": ["held", "released"], "default": "held"},
    "lock_id": {"type": "str", "required": True},
    "app": {"type": "str", "default": ""},
    "owner": {"type": "str", "default": ""},
    "reason": {"type": "str", "default": ""},
    "release": {"type": "str", "default": ""},
    "ttl": {"type": "int", "default": 3600},
    "break": {"type": "bool", "default": False},
    "takeover": {"type": "list", "elements": "str", "default": []},
    "policy": {"type": "str", "choices": list(POLICIES), "default": "reject"},
    "wait": {"type": "float", "default": 600},
    "alone": {"type": "bool", "default": False},
    "renew": {"type": "bool", "default": False},
    "order": {"type": "str", "choices": list(ORDERS)},
    "survey": {"type": "dict"},
}


# A lock that is younger than this was taken by somebody who started together with us; how long we wait for them to step back.
_FRESH, _STEP_BACK = 60.0, 5.0


@contextlib.contextmanager
def guarded(store: Store) -> t.Iterator[None]:
    """Let one process at a time decide about the lock."""
    with _files.locked(os.path.join(store.meta, "lock.guard")):
        yield


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


def _is_fresh(lock: t.Mapping[str, t.Any]) -> bool:
    return lock.get("boot") == boot_id() and time.monotonic() - float(lock.get("since", -_FRESH)) < _FRESH


def _patience(held: t.Mapping[str, t.Any], params: t.Mapping[str, t.Any]) -> float:
    """Return for how many seconds it is worth waiting for the holder.

    Two rollouts that start together take the locks of many hosts at the same moment, each some of them. The one with the lower id waits
    and the other one steps back, on every host alike (wait-die, Rosenkrantz et al. 1978), so they can't hold half the hosts each for long.
    """
    waits = params["policy"] != "reject"
    if _is_fresh(held) and not (waits and params["alone"]):
        # Who waits for others has the lock of its first host by then: others that start now step back.
        return 2 * _STEP_BACK if waits else _STEP_BACK if params["lock_id"] < str(held["id"]) else 0.0
    return float(params["wait"]) if waits else 0.0


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
        "release": params["release"],
        "ttl": params["ttl"],
        "at": iso_now(),
        "boot": boot_id(),
        "monotonic": time.monotonic(),
        "since": time.monotonic(),
    }
    if check_mode:
        held = read(store)
        if held and held["id"] != params["lock_id"] and not (held["expired"] or params["break"] or held["id"] in params["takeover"]):
            raise refusal(store, held)
        return wanted, held is None, []
    store.create()
    with guarded(store):
        held = read(store)
        if held and held["id"] == params["lock_id"]:
            # Whoever starts a rollout again wants it to go on: orders to the run before don't bind it.
            kept = {key: value for key, value in held.items() if key not in ("idle", "expired", "orders")}
            _files.write_json(store.lock_path, {**kept, **{key: wanted[key] for key in ("ttl", "boot", "monotonic")}})
            return kept, False, []
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
            # Whoever settles what a dead rollout left has to know what it wanted.
            wanted["release"] = wanted["release"] or held.get("release", "")
        _files.write_json(store.lock_path, wanted)
    return wanted, True, warnings


def take(store: Store, params: t.Mapping[str, t.Any], check_mode: bool) -> tuple[dict[str, t.Any], bool, list[str]]:
    """Take the lock, and wait for its holder first where that is worth it or wanted; as :func:`hold`."""
    begun = time.monotonic()
    superseded = False
    while True:
        try:
            return hold(store, params, check_mode)
        except SeamlessError as exc:
            held = exc.details.get("lock")
            if check_mode or held is None or time.monotonic() - begun >= _patience(held, params):
                raise
            if params["policy"] == "supersede" and not superseded and (params["alone"] or not _is_fresh(held)):
                leave_order(store, "abort", params["owner"], f"superseded by {params['lock_id']}", check_mode)
                superseded = True
        time.sleep(0.5)


def renew(store: Store, lock_id: str, ttl: int | None = None) -> dict[str, t.Any] | None:
    """Show that the holder lives and return its lock with the orders left in it; None where the lock is not *lock_id*'s (any more)."""
    if not os.path.exists(store.lock_path):
        return None
    with guarded(store):
        held = read(store)
        if not held or held["id"] != lock_id:
            return None
        held = {key: value for key, value in held.items() if key not in ("idle", "expired")}
        _files.write_json(store.lock_path, {**held, "ttl": ttl or held["ttl"], "boot": boot_id(), "monotonic": time.monotonic()})
    return held


def insist(store: Store, lock_id: str) -> None:
    """Renew the lock, or raise SeamlessError where *lock_id* doesn't hold it (any more): whoever broke it works here now."""
    if renew(store, lock_id) is None:
        held = read(store)
        whose = f"rollout {held['id']} of {held.get('owner') or 'unknown'} holds it" if held else "nobody holds it"
        raise SeamlessError(
            f"rollout {lock_id} has lost the lock on {store.root}: {whose}. Somebody broke it, or it ran out. Nothing was switched.", switched=False
        )


def leave_order(store: Store, verb: str, by: str, reason: str, check_mode: bool) -> dict[str, t.Any] | None:
    """Write an order into the lock, for the rollout that holds it; return the lock, or None where nobody holds one."""
    if not os.path.exists(store.lock_path):
        return None
    with guarded(store):
        held = read(store)
        if held and not check_mode:
            order = {"verb": verb, "by": by, "reason": reason, "at": time.time()}
            kept = {key: value for key, value in held.items() if key not in ("idle", "expired")}
            _files.write_json(store.lock_path, {**kept, "orders": [*(held.get("orders") or []), order]})
            store.note("order", verb=verb, by=by, reason=reason, rollout_id=held["id"])
    return held


def release(store: Store, lock_id: str, check_mode: bool) -> bool:
    """Give the lock back if *lock_id* holds it; another's lock is never touched. Returns whether there was one of ours."""
    if not os.path.exists(store.lock_path):
        return False
    if check_mode:
        held = read(store)
        return bool(held and held["id"] == lock_id)
    with guarded(store):
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
    if params["order"]:
        held = leave_order(store, params["order"], params["owner"], params["reason"], check_mode)
        return {"changed": held is not None, "lock_changed": False, "lock": held, "survey": None}
    if params["renew"]:
        return {"changed": False, "lock_changed": False, "lock": renew(store, params["lock_id"], params["ttl"]), "survey": None}
    if params["ttl"] < 10:
        raise SeamlessError(f"ttl is {params['ttl']}: use at least 10 seconds, or the lock would run out under a living rollout.")
    lock, taken, warnings = take(store, params, check_mode)
    survey = None
    if params["survey"] is not None:
        from ansible_collections.seamless.rollout.plugins.module_utils._release import info

        survey = info.survey(store, params["survey"])
    return {"changed": False, "lock_changed": taken, "lock": lock, "survey": survey, "warnings": warnings}
