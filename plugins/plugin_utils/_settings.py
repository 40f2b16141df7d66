# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""What a user may write in ``rollout_*`` variables, and the refusal of everything else."""

from __future__ import annotations

import dataclasses
import difflib
import re
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils import _health
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError

Amount = t.Union[int, str]

ON_FAILURE = ("stop", "pause", "continue", "rollback")
PACES = ("batch", "window")
LOCK_POLICIES = ("reject", "wait", "supersede")
HOOK_POINTS = ("before_drain", "after_drain", "before_switch", "after_switch", "validate", "before_enable", "after_enable")
DRIVERS = ("haproxy", "health_file")
RELEASE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}\Z")
_APP = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")

DEFAULTS: dict[str, t.Any] = {
    "adopt": False,
    "app": None,
    "auto_promote": True,
    "bake_health": [],
    "bake_seconds": 0,
    "balancers": [],
    "batch": [1, "25%", "50%"],
    "break_lock": False,
    "canary": 1,
    "dir_mode": None,
    "drain_timeout": 30,
    "enable_timeout": 60,
    "file_mode": None,
    "force": False,
    "group": None,
    "health": [],
    "health_interval": 0.5,
    "health_rise": 2,
    "healthy_deadline": 60,
    "hooks": {},
    "hosts": "app",
    "keep_releases": 5,
    "linked_dirs": [],
    "linked_files": [],
    "lock_policy": "reject",
    "lock_ttl": 3600,
    "lock_wait": 600,
    "max_fail": 0,
    "max_parallel": None,
    "max_unavailable": "25%",
    "min_available": None,
    "min_free": "5%",
    "min_healthy_seconds": 0,
    "on_drain_timeout": "fail",
    "on_failure": "rollback",
    "order": None,
    "owner": None,
    "pace": "batch",
    "pipelining": True,
    "progress_deadline": 600,
    "reason": "",
    "release": None,
    "root": None,
    "services": [],
    "source": None,
    "state_dir": None,
    "to": None,
    "undo_max_parallel": None,
    "update_role": None,
    "update_tasks": None,
    "watch": False,
}

KNOWN = frozenset(f"rollout_{name}" for name in DEFAULTS)


@dataclasses.dataclass(frozen=True)
class Settings:
    """The checked variables that the plan needs. Amounts are still as written: they need a number of hosts."""

    app: str
    release: str | None
    root: str
    source: dict[str, t.Any] | None
    mode: str  # release | update | rollback | promote | preview
    batch: list[Amount]
    canary: int | str | list[str]
    max_parallel: int | None
    max_unavailable: Amount
    min_available: Amount | None
    undo_max_parallel: int | None
    bake_seconds: float
    max_fail: Amount
    on_failure: str
    keep_releases: int
    health: list[dict[str, t.Any]]
    services: list[dict[str, t.Any]]
    force: bool
    reason: str
    pace: str
    auto_promote: bool
    progress_deadline: float
    lock_ttl: int


def unknown_names(names: t.Iterable[str]) -> list[str]:
    """Return a sentence for every ``rollout_*`` name that means nothing here, with the nearest one that does."""
    sentences = []
    for name in sorted(names):
        if name.startswith("rollout_") and name not in KNOWN:
            near = difflib.get_close_matches(name[len("rollout_"):], DEFAULTS, n=1, cutoff=0.6)
            hint = f"Did you mean rollout_{near[0]}?" if near else "Rename it: the prefix rollout_ belongs to seamless.rollout."
            sentences.append(f"{name} is not a variable of seamless.rollout. {hint}")
    return sentences


class _Reader:
    """Reads one variable after another and collects every complaint, so that a user sees all of them at once."""

    def __init__(self, values: t.Mapping[str, t.Any]) -> None:
        self.values = values
        self.errors: list[str] = []

    def get(self, name: str) -> t.Any:
        value = self.values.get(f"rollout_{name}")
        return DEFAULTS[name] if value is None or value == "" else value

    def complain(self, name: str, want: str) -> None:
        self.errors.append(f"rollout_{name} is {self.get(name)!r}: {want}")

    def choice(self, name: str, choices: t.Sequence[str]) -> str:
        value = str(self.get(name))
        if value not in choices:
            near = difflib.get_close_matches(value, choices, n=1)
            self.complain(name, f"use one of {', '.join(choices)}" + (f" (nearest: {near[0]})." if near else "."))
        return value

    def integer(self, name: str, least: int) -> int | None:
        value = self.get(name)
        if value is None:
            return None
        try:
            number = int(str(value))
        except ValueError:
            number = least - 1
        if number < least or isinstance(value, bool):
            self.complain(name, f"use a whole number of at least {least}.")
        return number

    def seconds(self, name: str) -> float:
        try:
            number = float(str(self.get(name)))
        except ValueError:
            number = -1.0
        if not 0 <= number <= 86400 * 7:
            self.complain(name, "use a number of seconds, 0 or more.")
        return number

    def boolean(self, name: str) -> bool:
        value = self.get(name)
        if isinstance(value, bool):
            return value
        text = str(value).lower()
        if text not in ("true", "false", "yes", "no", "1", "0"):
            self.complain(name, "use true or false.")
        return text in ("true", "yes", "1")

    def amount(self, name: str, *, zero: bool = False) -> t.Any:
        value = self.get(name)
        if value is not None:
            problem = amount_problem(value, zero=zero)
            if problem:
                self.complain(name, problem)
        return value

    def listing(self, name: str, of: type, example: str) -> list[t.Any]:
        value = self.get(name)
        if not isinstance(value, list) or not all(isinstance(item, of) for item in value):
            self.complain(name, f"use a list, for example {example}.")
            return []
        return value


def amount_problem(value: t.Any, *, zero: bool = False) -> str | None:
    """Say what is wrong with *value* as a number of hosts ("25%" or 3), or return None."""
    text = str(value).strip()
    if isinstance(value, (bool, float)) or not re.fullmatch(r"-?\d+%?", text):
        return 'use a whole number of hosts such as 2, or a percentage such as "25%".'
    number = int(text.rstrip("%"))
    if text.endswith("%") and number > 100:
        return "a percentage above 100% is more than all hosts: use at most 100%."
    if number < 0 or (number == 0 and not zero):
        return 'nothing would ever be updated: use at least 1, or a percentage above 0% such as "25%".'
    return None


def read_settings(values: t.Mapping[str, t.Any], mode: str) -> Settings:
    """Check the ``rollout_*`` variables in *values* and return them as :class:`Settings`.

    Raises SeamlessError with every complaint, each naming the variable, its value and a value that would do.
    """
    reader = _Reader(values)
    reader.errors.extend(unknown_names(values))
    app = reader.get("app")
    if app is None:
        reader.errors.append('rollout_app is not set: name the application, for example rollout_app: shop.')
    elif not _APP.match(str(app)):
        reader.complain("app", "use letters, digits, dots, dashes and underscores, for example shop.")
    if mode == "release" and (reader.get("update_role") or reader.get("update_tasks")):
        mode = "update"
    if reader.get("update_role") and reader.get("update_tasks"):
        reader.errors.append("rollout_update_role and rollout_update_tasks are both set: use one of them.")
    release = reader.get("release")
    if release is None and mode == "release":
        reader.errors.append('rollout_release is not set: name the release, for example -e rollout_release=1.2.0.')
    elif release is not None and not RELEASE_ID.match(str(release)):
        reader.complain(
            "release", "use up to 128 letters, digits, dots, dashes, plus signs and underscores, starting with a letter or digit, such as 1.2.0."
        )
    root = str(reader.get("root") or f"/srv/{app}")
    if not root.startswith("/") or root.rstrip("/") in ("", "/srv", "/opt", "/var", "/home", "/usr", "/etc"):
        reader.complain("root", f"use the absolute path of a directory of this application alone, for example /srv/{app or 'shop'}.")
    source = reader.get("source")
    if source is not None and not isinstance(source, dict):
        reader.complain("source", "use a dictionary with a type, for example {type: directory, path: build/}.")
        source = None
    batch = reader.get("batch")
    batch = batch if isinstance(batch, list) else [batch]
    for item in batch or [None]:
        problem = amount_problem(item)
        if problem:
            reader.complain("batch", problem)
            break
    canary = reader.get("canary")
    if not isinstance(canary, list):
        reader.amount("canary", zero=True)
    if reader.get("min_available") is not None and reader.get("max_unavailable") != DEFAULTS["max_unavailable"]:
        reader.errors.append("rollout_min_available and rollout_max_unavailable are both set: they say the same thing twice, use one.")
    reader.choice("lock_policy", LOCK_POLICIES)
    reader.choice("on_drain_timeout", ("fail", "maintenance", "shutdown_sessions", "continue"))
    for name in ("drain_timeout", "enable_timeout", "healthy_deadline", "min_healthy_seconds", "health_interval", "lock_wait"):
        reader.seconds(name)
    reader.integer("health_rise", 1)
    _check_hooks(reader)
    _check_balancers(reader)
    _check_bake_health(reader)
    settings = Settings(
        app=str(app),
        release=None if release is None else str(release),
        root=root,
        source=source,
        mode=mode,
        batch=batch,
        canary=canary,
        max_parallel=reader.integer("max_parallel", 1),
        max_unavailable=reader.amount("max_unavailable"),
        min_available=reader.amount("min_available", zero=True),
        undo_max_parallel=reader.integer("undo_max_parallel", 1),
        bake_seconds=reader.seconds("bake_seconds"),
        max_fail=reader.amount("max_fail", zero=True),
        on_failure=reader.choice("on_failure", ON_FAILURE),
        keep_releases=reader.integer("keep_releases", 1) or 1,
        health=reader.listing("health", dict, "[{url: http://127.0.0.1:8000/health}]"),
        services=reader.listing("services", dict, "[{name: shop, action: restart}]"),
        force=reader.boolean("force"),
        reason=str(reader.get("reason")),
        pace=reader.choice("pace", PACES),
        auto_promote=reader.boolean("auto_promote"),
        progress_deadline=reader.seconds("progress_deadline"),
        lock_ttl=reader.integer("lock_ttl", 10) or 3600,
    )
    if reader.errors:
        raise SeamlessError("\n".join(reader.errors))
    return settings


def _check_hooks(reader: _Reader) -> None:
    hooks = reader.get("hooks")
    if not isinstance(hooks, dict):
        reader.complain("hooks", "use a dictionary such as {after_switch: [warm_cache.yml]}.")
        return
    for point, value in hooks.items():
        if point not in HOOK_POINTS:
            near = difflib.get_close_matches(str(point), HOOK_POINTS, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            reader.errors.append(f"rollout_hooks has {point!r}: the points are {', '.join(HOOK_POINTS)}.{hint}")
        elif not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            reader.errors.append(f"rollout_hooks.{point} is {value!r}: use a list of task files (*.yml) or role names.")


def _check_bake_health(reader: _Reader) -> None:
    probes = reader.listing("bake_health", dict, "[{url: http://shop.example.com/}]")
    try:
        _health.validate_probes(probes)
    except SeamlessError as exc:
        reader.errors.append(f"rollout_bake_health: {exc}")


def _check_balancers(reader: _Reader) -> None:
    health = reader.get("health")
    urls = [probe.get("url") for probe in health if isinstance(probe, dict)] if isinstance(health, list) else []
    for index, balancer in enumerate(reader.listing("balancers", dict, "[{driver: haproxy, hosts: lb, backend: shop}]")):
        name = f"rollout_balancers[{index}]"
        driver = str(balancer.get("driver", ""))
        if driver not in DRIVERS:
            near = difflib.get_close_matches(driver, DRIVERS, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            reader.errors.append(f"{name}.driver is {driver!r}: the drivers are {', '.join(DRIVERS)}.{hint}")
        known = ("driver", "hosts", "socket", "backend", "member", "path", "settle_seconds", "check_url", "state_dir", "sticky", "persist_state")
        for key in balancer:
            if key not in known:
                near = difflib.get_close_matches(str(key), known, n=1)
                hint = f" Did you mean {near[0]}?" if near else f" Known are {', '.join(known)}."
                reader.errors.append(f"{name} has {key!r}, which means nothing here.{hint}")
        check_url = balancer.get("check_url")
        if driver == "health_file" and check_url and check_url in urls:
            reader.errors.append(
                f"{name}.check_url is {check_url!r}, which rollout_health asks too: it answers 503 until the host is enabled. Have rollout_health "
                "ask another URL, which says how the application is."
            )
        if driver == "haproxy" and not balancer.get("socket"):
            reader.errors.append(f"{name}.socket is not set: give HAProxy's runtime socket, for example /run/haproxy/admin.sock.")
