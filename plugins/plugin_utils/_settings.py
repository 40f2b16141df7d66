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
from ansible_collections.seamless.rollout.plugins.module_utils._balancer import options
from ansible_collections.seamless.rollout.plugins.module_utils._balancer import ramp as _ramp
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.registry import find_driver, missing
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._release.lock import POLICIES
from ansible_collections.seamless.rollout.plugins.module_utils._urls import shown
from ansible_collections.seamless.rollout.plugins.plugin_utils import _notify, _queries
from ansible_collections.seamless.rollout.plugins.plugin_utils._amounts import Amount
from ansible_collections.seamless.rollout.plugins.plugin_utils._blockers import blocker_problems
from ansible_collections.seamless.rollout.plugins.plugin_utils._migrations import ROLE as MIGRATION_ROLE
from ansible_collections.seamless.rollout.plugins.plugin_utils._plan import PER_ZONE
from ansible_collections.seamless.rollout.plugins.plugin_utils._reader import DEFAULTS, FORMATS, Reader, amount_problem, unknown_names
from ansible_collections.seamless.rollout.plugins.plugin_utils._verdict import Analysis, read_analysis
from ansible_collections.seamless.rollout.plugins.plugin_utils._windows import window_problems

ON_FAILURE = ("stop", "pause", "continue", "rollback")
PACES = ("batch", "window")
LOCK_POLICIES = POLICIES
RECOVERIES = ("restore", "finish")
HOOK_POINTS = ("before_drain", "after_drain", "before_switch", "after_switch", "validate", "before_enable", "after_enable")
# What a balancer may have in rollout_balancers. The rest of a call comes from the rollout itself.
BALANCER_KEYS = ("hosts", "member", "sticky", "persist_state", *(key for key in options.SPEC if key != "owner"))
RELEASE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}\Z")
_APP = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")


@dataclasses.dataclass(frozen=True)
class Settings:
    """The checked variables that the plan needs. Amounts are still as written: they need a number of hosts."""

    app: str
    release: str | None
    root: str
    source: dict[str, t.Any] | None
    mode: str  # release | update | rollback | promote | preview
    batch: list[Amount] | None
    canary: int | str | list[str]
    analysis: Analysis | None
    max_parallel: int | None
    max_unavailable: Amount
    min_available: Amount | None
    undo_max_parallel: int | None
    zones: list[str]
    zone_min_available: Amount | None
    tiers: list[str]
    weight: int
    late: bool
    pace: str
    bake_seconds: float
    first_zone_bake_seconds: float | None
    max_fail: Amount
    on_failure: str
    keep_releases: int
    health: list[dict[str, t.Any]]
    services: list[dict[str, t.Any]]
    force: bool
    out_of_rotation: bool
    reason: str
    windows: list[dict[str, t.Any]]
    blockers: list[dict[str, t.Any]]
    override: str
    plan_format: str
    recover: str
    once_before: list[str]
    once_after: list[str]
    migrations: dict[str, t.Any]
    auto_promote: bool
    progress_deadline: float
    lock_ttl: int
    weight_ramp: dict[str, t.Any] | None


def read_settings(values: t.Mapping[str, t.Any], mode: str) -> Settings:
    """Check the ``rollout_*`` variables in *values* and return them as :class:`Settings`.

    Raises SeamlessError with every complaint, each naming the variable, its value and a value that would do.
    """
    reader = Reader(values)
    reader.errors.extend(unknown_names(values))
    out_of_rotation = reader.boolean("out_of_rotation")
    if out_of_rotation:
        # Nobody sends requests there: all go at once, and there is nobody to hold back or to watch.
        reader.override(canary=0, batch=["100%"], max_unavailable="100%", min_available=None, zone_min_available=None, bake_seconds=0, pace="batch")
    app = reader.get("app")
    if app is None:
        reader.errors.append('rollout_app is not set: name the application, for example rollout_app: shop.')
    elif not _APP.match(str(app)):
        reader.complain("app", "use letters, digits, dots, dashes and underscores, for example shop.")
    if mode == "release" and (reader.get("update_role") or reader.get("update_tasks")):
        mode = "update"
    if reader.get("update_role") and reader.get("update_tasks"):
        reader.errors.append("rollout_update_role and rollout_update_tasks are both set: use one of them.")
    release = reader.get("release") if mode != "recover" else None
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
    batch = batch if isinstance(batch, list) or batch is None else [batch]
    for item in [] if batch is None else batch or [None]:
        problem = amount_problem(item)
        if problem:
            reader.complain("batch", problem)
            break
    canary = reader.get("canary")
    if not isinstance(canary, list) and canary != PER_ZONE:
        _check_canary(reader)
    if reader.get("min_available") is not None and reader.get("max_unavailable") != DEFAULTS["max_unavailable"]:
        reader.errors.append("rollout_min_available and rollout_max_unavailable are both set: they say the same thing twice, use one.")
    analysis, problems = read_analysis(reader.get("canary_analysis"))
    reader.errors += problems
    if analysis:
        reader.errors += _queries.source_problems(analysis.source) + _queries.gate_problems(analysis.gates)
    if analysis and (canary in (0, "0", [])) and not out_of_rotation:
        reader.errors.append("rollout_canary_analysis is set and rollout_canary is 0: there is no canary to judge. Set rollout_canary to 1 or more.")
    reader.choice("lock_policy", LOCK_POLICIES)
    reader.choice("on_drain_timeout", ("fail", "maintenance", "shutdown_sessions", "continue"))
    for name in ("drain_timeout", "enable_timeout", "healthy_deadline", "min_healthy_seconds", "health_interval", "lock_wait"):
        reader.seconds(name)
    reader.integer("health_rise", 1)
    _check_hooks(reader)
    _check_balancers(reader)
    _check_bake_health(reader)
    reader.errors += _notify.problems(reader.get("notify"))
    reader.errors += window_problems(reader.get("windows")) + blocker_problems(reader.get("blockers"))
    # A release of the user's own tasks has no directory that its migrations could be in.
    database = [MIGRATION_ROLE] if reader.get("migrations") and mode in ("release", "promote") else []
    settings = Settings(
        app=str(app),
        release=None if release is None else str(release),
        root=root,
        source=source,
        mode=mode,
        batch=batch,
        canary=canary,
        analysis=analysis,
        max_parallel=reader.integer("max_parallel", 1),
        max_unavailable=reader.amount("max_unavailable"),
        min_available=reader.amount("min_available", zero=True),
        undo_max_parallel=reader.integer("undo_max_parallel", 1),
        zones=reader.names("zones", "[a, b]"),
        zone_min_available=reader.amount("zone_min_available", zero=True),
        tiers=reader.names("tiers", "[workers, web]"),
        weight=reader.integer("weight", 1) or 1,
        late=reader.boolean("late"),
        pace=reader.choice("pace", PACES),
        bake_seconds=reader.seconds("bake_seconds"),
        first_zone_bake_seconds=None if reader.get("first_zone_bake_seconds") is None else reader.seconds("first_zone_bake_seconds"),
        max_fail=reader.amount("max_fail", zero=True),
        on_failure=reader.choice("on_failure", ON_FAILURE),
        keep_releases=reader.integer("keep_releases", 1) or 1,
        health=reader.listing("health", dict, "[{url: http://127.0.0.1:8000/health}]"),
        services=reader.listing("services", dict, "[{name: shop, action: restart}]"),
        force=reader.boolean("force"),
        out_of_rotation=out_of_rotation,
        reason=str(reader.get("reason")),
        recover=reader.choice("recover", RECOVERIES),
        once_before=[*database, *reader.listing("once_before", str, "[migrate.yml]")],
        once_after=[*reader.listing("once_after", str, "[notify.yml]"), *database],
        migrations=reader.get("migrations"),
        auto_promote=reader.boolean("auto_promote"),
        progress_deadline=reader.seconds("progress_deadline"),
        lock_ttl=reader.integer("lock_ttl", 10) or 3600,
        weight_ramp=None if out_of_rotation else _weight_ramp(reader),
        windows=reader.get("windows"),
        blockers=reader.get("blockers"),
        override=reader.text("override", "the reason, for example \"INC-42: the fix for the outage\""),
        plan_format=reader.choice("plan_format", FORMATS),
    )
    if reader.errors:
        raise SeamlessError("\n".join(reader.errors))
    return settings


def _check_canary(reader: Reader) -> None:
    value = reader.get("canary")
    if amount_problem(value, zero=True) and isinstance(value, str) and not re.match(r"-?\d", value.strip()):
        near = f" Did you mean {PER_ZONE}?" if difflib.get_close_matches(value, [PER_ZONE]) else ""
        reader.complain("canary", f'use a number such as 1, a percentage such as "10%", a list of hosts, or {PER_ZONE}.{near}')
    else:
        reader.amount("canary", zero=True)


def _check_hooks(reader: Reader) -> None:
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


def _check_bake_health(reader: Reader) -> None:
    probes = reader.listing("bake_health", dict, "[{url: http://shop.example.com/}]")
    try:
        _health.validate_probes(probes)
    except SeamlessError as exc:
        reader.errors.append(f"rollout_bake_health: {exc}")


def _weight_ramp(reader: Reader) -> dict[str, t.Any] | None:
    """Return the ramp that a host climbs after it was enabled, as :func:`_ramp.read` understands it."""
    try:
        ramp = _ramp.read(reader.get("weight_ramp"), "rollout_weight_ramp")
    except SeamlessError as exc:
        reader.errors.append(str(exc))
        return None
    return ramp._asdict() if ramp else None


def _check_balancers(reader: Reader) -> None:
    health = reader.get("health")
    urls = [probe.get("url") for probe in health if isinstance(probe, dict)] if isinstance(health, list) else []
    for index, balancer in enumerate(reader.listing("balancers", dict, "[{driver: haproxy, hosts: lb, backend: shop}]")):
        name = f"rollout_balancers[{index}]"
        driver = str(balancer.get("driver", ""))
        try:
            lacking = missing(find_driver(driver), balancer)
            if reader.get("weight_ramp") and find_driver(driver).weights is None:
                reader.errors.append(
                    f"rollout_weight_ramp is set, and the driver {driver} of {name} knows no weights: leave it out, or have the balancer itself start "
                    "slowly, as slowstart of HAProxy does."
                )
        except SeamlessError as exc:
            reader.errors.append(f"{name}.{exc}")
            lacking = {}
        reader.errors += [f"{name}.{option} is not set: the driver {driver} needs {what}." for option, what in lacking.items()]
        for key in balancer:
            if key not in BALANCER_KEYS:
                near = difflib.get_close_matches(str(key), BALANCER_KEYS, n=1)
                hint = f" Did you mean {near[0]}?" if near else f" Known are {', '.join(BALANCER_KEYS)}."
                reader.errors.append(f"{name} has {key!r}, which means nothing here.{hint}")
        check_url = balancer.get("check_url")
        if driver == "health_file" and check_url and check_url in urls:
            reader.errors.append(
                f"{name}.check_url is {shown(str(check_url))!r}, which rollout_health asks too: it answers 503 until the host is enabled. Have rollout_health "
                "ask another URL, which says how the application is."
            )
