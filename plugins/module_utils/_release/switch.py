# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import contextlib
import os
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._release import floor as floors
from ansible_collections.seamless.rollout.plugins.module_utils._release import links, lock
from ansible_collections.seamless.rollout.plugins.module_utils._release.store import RELEASE_ID, USABLE_STATES, Link, Record, Store, boot_id, iso_now

ARGUMENT_SPEC: dict[str, t.Any] = {
    "root": {"type": "path", "required": True},
    "release": {"type": "str", "required": True},
    "link": {"type": "str", "choices": ["current", "preview"], "default": "current"},
    "services": {"type": "list", "elements": "dict", "default": []},
    "health": {"type": "list", "elements": "dict", "default": []},
    "interval": {"type": "float", "default": 0.5},
    "rise": {"type": "int", "default": 2},
    "healthy_deadline": {"type": "float", "default": 60},
    "min_healthy_seconds": {"type": "float", "default": 0},
    "rollout_id": {"type": "str", "default": ""},
    "require_lock": {"type": "bool", "default": False},
    "reason": {"type": "str", "choices": ["activate", "rollback", "promote"], "default": "activate"},
    "adopt_directory": {"type": "bool", "default": False},
    "floor": {"type": "dict"},
}


def check_target(store: Store, release: str) -> Record | None:
    """Return the record of *release*, or refuse a release that no host could run."""
    path = store.release_path(release)
    if not os.path.isdir(path):
        there = ", ".join([*store.managed(), *store.foreign()]) or "none"
        raise SeamlessError(f"release {release} is not on this host: {path} is missing. Stage it first. Releases here: {there}.", switched=False)
    record = store.record(release)
    if record is not None and record.get("state") not in USABLE_STATES:
        raise SeamlessError(f"release {release} is {record.get('state')}, not ready: stage it again until it is complete.", switched=False)
    return record


def check_link(store: Store, link: str, standing: Link, adopt_directory: bool) -> None:
    """Refuse to replace what is not a link to a release."""
    path = store.link_path(link)
    if standing.kind == "directory" and not adopt_directory:
        raise SeamlessError(
            f"{path} is a real directory (or file), not a link; it was left as it is. Set adopt_directory: true to turn it into a release "
            "and a link in one step, or move it away.",
            switched=False,
        )
    if standing.kind == "foreign":
        raise SeamlessError(
            f"{path} points to {standing.path}, outside {store.releases}; it was left as it is. Check root, or remove the link yourself.",
            switched=False,
        )


def move_link(store: Store, link: str, release: str, standing: Link, params: t.Mapping[str, t.Any]) -> str | None:
    """Switch the link, with the intent in the journal before and the deed after. Returns the id of an adopted directory."""
    links.sweep(store)
    held = lock.read(store) or {}
    # Another controller, which has not this one's ledger, can say then who it was.
    who = {"by": held.get("owner"), "why": held.get("reason")} if params["rollout_id"] and held.get("id") == params["rollout_id"] else {}
    store.note("switching", link=link, release=release, previous=standing.release, rollout_id=params["rollout_id"], reason=params["reason"], **who)
    adopted = None
    if standing.kind == "directory":
        adopted = f"adopted-{time.strftime('%Y%m%d%H%M%S', time.gmtime())}"
        links.exchange_directory(store, link, adopted)
    links.point(store, link, release)
    store.note("switched", link=link, release=release, previous=adopted or standing.release, rollout_id=params["rollout_id"])
    return adopted


def save_states(store: Store, release: str, previous: str | None, reason: str) -> None:
    """Record which release is live now and what became of the one before. When it was good survives: it may be the way back."""
    for name, state in ((release, "current"), (previous, "bad" if reason == "rollback" else "previous")):
        if name is None or not RELEASE_ID.match(name) or name == previous == release or not os.path.isdir(store.release_path(name)):
            continue
        record = store.record(name)
        changes = {"state": state}
        if record is None:
            # What another tool had put here was live until now: that makes it a way back.
            record = store.adopt(name)
            changes.update(store.good_now())
        if state == "current":
            changes["switched_at"] = iso_now()
            if reason == "rollback" and record.get("good_at"):
                changes["state"] = "good"
        store.save({**record, **changes})


def switched_since(store: Store, link: str, release: str) -> float | None:
    """Return the monotonic time of the switch to *release* in this boot, or None when it was in an earlier one or by hand."""
    boot = boot_id()
    for entry in reversed(store.journal()):
        if entry.get("event") == "switched" and entry.get("link") == link:
            same = entry.get("release") == release and entry.get("boot") == boot
            return float(entry["monotonic"]) if same else None
    return None


def handled_services(store: Store, release: str) -> set[str]:
    """Return the services that were restarted or reloaded for *release* since the last switch in this boot."""
    handled: set[str] = set()
    boot = boot_id()
    for entry in store.journal():
        if entry.get("event") == "switched" and entry.get("link") == "current":
            handled = set()
        elif entry.get("event") == "services" and entry.get("release") == release and entry.get("boot") == boot:
            handled |= set(entry.get("names") or [])
    return handled


def fail_release(store: Store, release: str, rollout_id: str, why: str) -> None:
    record = store.record(release)
    if record is not None and not record.get("good_at"):
        store.save({**record, "state": "failed", "failed_at": iso_now(), "why": why[:2000]})
    store.note("failed", release=release, rollout_id=rollout_id, why=why[:2000])


@contextlib.contextmanager
def _timed(timings: dict[str, float], name: str) -> t.Iterator[None]:
    """Note how many seconds this took, also where it fails."""
    started = time.monotonic()
    try:
        yield
    finally:
        timings[name] = round(time.monotonic() - started, 3)


def bring_up(store: Store, release: str, params: t.Mapping[str, t.Any], result: dict[str, t.Any]) -> None:
    """Restart what still runs another release, then wait until the new one is healthy. Fills *result* as it goes."""
    from ansible_collections.seamless.rollout.plugins.module_utils import _health, _service

    services = params["services"]
    switched = switched_since(store, "current", release)
    # A link that was made by hand or in an earlier boot: what is restarted now starts from now on.
    since = time.monotonic() if switched is None else switched
    with _timed(result["timings"], "services"):
        if services:
            result["services"] = _service.apply(
                services,
                release=release,
                releases_dir=store.releases,
                switched_monotonic=switched,
                handled=handled_services(store, release),
            )
            acted = [item["name"] for item in result["services"] if item["acted"]]
            if acted:
                store.note("services", release=release, names=acted, rollout_id=params["rollout_id"])
                result["changed"] = True
    with _timed(result["timings"], "health"):
        if params["health"]:
            outcome = _health.wait_healthy(
                _health.validate_probes(params["health"]),
                interval=params["interval"],
                rise=params["rise"],
                min_healthy_seconds=params["min_healthy_seconds"],
                deadline=params["healthy_deadline"],
            )
            result.update(health=outcome.results, healthy=outcome.healthy, served_version=outcome.served_version)
            if not outcome.healthy:
                raise SeamlessError(f"{release} did not become healthy {outcome.reason}{_unit_trouble(services, result, store, since)}")
        if services:
            _service.confirm(services, result["services"], release=release, releases_dir=store.releases, switched_monotonic=since)


def _unit_trouble(services: t.Sequence[t.Mapping[str, t.Any]], result: t.Mapping[str, t.Any], store: Store, since: float) -> str:
    """Return what the units themselves say, when they explain why the release is not healthy."""
    from ansible_collections.seamless.rollout.plugins.module_utils import _service

    try:
        _service.confirm(services, result["services"], release=result["release"], releases_dir=store.releases, switched_monotonic=since)
    except SeamlessError as exc:
        return f". {exc}"
    return ""


def run(params: dict[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    """Switch ``current`` or ``preview`` to a release, restart its services and check them. Does only what is left to do."""
    store = Store(params["root"])
    release, link = params["release"], params["link"]
    standing = store.link(link)
    check_target(store, release)
    check_link(store, link, standing, params["adopt_directory"])
    if link == "current":
        from ansible_collections.seamless.rollout.plugins.module_utils import _health, _service

        floors.insist(store, release, floors.effective(store, params["floor"]))
        _health.validate_probes(params["health"])
        _service.check(params["services"], store.releases)
    moved = standing.kind != "link" or standing.release != release
    result: dict[str, t.Any] = {
        "changed": moved,
        "switched": moved,
        "previous": standing.release or standing.path,
        "release": release,
        "rollout_id": params["rollout_id"],
        "services": [],
        "health": [],
        "healthy": None,
        "served_version": None,
        "timings": {},
        "diff": {"before": {link: standing.release or standing.path}, "after": {link: release}},
        "warnings": [f"{store.link_path(link)} was dangling ({standing.path}); the switch repairs it"] if standing.kind == "dangling" else [],
    }
    if check_mode:
        return result
    if params["require_lock"]:
        lock.insist(store, params["rollout_id"])
    started = time.monotonic()
    floors.raise_to(store, params["floor"])
    if moved:
        adopted = move_link(store, link, release, standing, params)
        if adopted:
            result["previous"] = adopted
    if link == "preview":
        return result
    if moved or (store.record(release) or {}).get("state") not in ("current", "good"):
        save_states(store, release, result["previous"] if moved else None, params["reason"])
    result["timings"]["switch"] = round(time.monotonic() - started, 3)
    try:
        bring_up(store, release, params, result)
    except SeamlessError as exc:
        fail_release(store, release, params["rollout_id"], str(exc))
        raise SeamlessError(str(exc), **{**result, **exc.details, "switched": True, "changed": True}) from exc
    return result
