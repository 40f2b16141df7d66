# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import contextlib
import datetime
import os
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils import _files
from ansible_collections.seamless.rollout.plugins.module_utils._balancer.managed_file import ManagedFile
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._maintenance.base import Balancer, Standing
from ansible_collections.seamless.rollout.plugins.module_utils._maintenance.check import UTC, verify
from ansible_collections.seamless.rollout.plugins.module_utils._maintenance.moments import iso, read_moment
from ansible_collections.seamless.rollout.plugins.module_utils._maintenance.plan import Plan, directory_of, read_plan

DRIVERS = ("haproxy", "nginx", "apache", "caddy")
ARGUMENT_SPEC: dict[str, t.Any] = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["on", "off", "scheduled"], "required": True},
    "driver": {"type": "str", "choices": list(DRIVERS), "default": "haproxy"},
    "from": {"type": "str"},
    "until": {"type": "str"},
    "timezone": {"type": "str"},
    "retry_after": {"type": "int"},
    "page": {"type": "str"},
    "page_file": {"type": "str"},
    "title": {"type": "str", "default": "Down for maintenance"},
    "text": {"type": "str", "default": "We are working on this site and will be back soon."},
    "lang": {"type": "str", "default": "en"},
    "allow": {"type": "list", "elements": "str", "default": []},
    "health_paths": {"type": "list", "elements": "str", "default": []},
    "header": {"type": "str", "default": "X-Maintenance"},
    "check_url": {"type": "str", "required": True},
    "check_host": {"type": "str"},
    "check_seconds": {"type": "float", "default": 10},
    "validate_certs": {"type": "bool", "default": True},
    "socket": {"type": "list", "elements": "str", "default": []},
    "commands": {"type": "dict", "default": {}},
    "owner": {"type": "str", "default": "ansible"},
    "reason": {"type": "str", "default": ""},
    "force": {"type": "bool", "default": False},
    "state_dir": {"type": "path", "default": "/var/lib/seamless-rollout/maintenance"},
}
RECORD = "record.json"


def open_balancer(params: t.Mapping[str, t.Any], directory: str) -> Balancer:
    # Imported where it is needed: a call for one balancer does not pay for the others.
    if params["driver"] == "haproxy":
        from ansible_collections.seamless.rollout.plugins.module_utils._maintenance.haproxy import HAProxy

        return HAProxy(params, directory)
    if params["driver"] == "nginx":
        from ansible_collections.seamless.rollout.plugins.module_utils._maintenance.nginx import Nginx

        return Nginx(params, directory)
    if params["driver"] == "apache":
        from ansible_collections.seamless.rollout.plugins.module_utils._maintenance.apache import Apache

        return Apache(params, directory)
    from ansible_collections.seamless.rollout.plugins.module_utils._maintenance.caddy import Caddy

    return Caddy(params, directory)


def whose(record: t.Mapping[str, t.Any] | None, on: bool, owner: str, now: datetime.datetime) -> str:
    """Return who keeps the site closed, or will, where that is not *owner*. Pure."""
    if on and (record is None or record["state"] != "on"):
        return "an operator, who left no record"
    if record is None or record["owner"] == owner:
        return ""
    pending = record["state"] == "scheduled" and read_moment("until", record["until"]) > now
    return f"{record['owner']} ({record['at']})" if on or pending else ""


def run(params: dict[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    """Close a site, open it, or have it closed for a while, and verify it by a request to it."""
    if params["page_file"] or params["timezone"]:
        option = "page_file" if params["page_file"] else "timezone"
        raise SeamlessError(f"{option} works in a task only, which reads it on the controller.")
    if not params["owner"]:
        raise SeamlessError("owner is empty: name who closes the site, for example the application.")
    now = datetime.datetime.now(UTC)
    plan = read_plan(params, now)
    balancer = open_balancer(params, directory_of(params))
    balancer.check(plan)
    if check_mode:
        return _run(params, plan, balancer, now, check_mode=True)
    balancer.prepare()
    # One at a time: what is put back after a failure must be what was there.
    with ManagedFile(plan.directory, plan.directory).exclusive():
        return _run(params, plan, balancer, now, check_mode=False)


def _run(params: t.Mapping[str, t.Any], plan: Plan, balancer: Balancer, now: datetime.datetime, *, check_mode: bool) -> dict[str, t.Any]:
    wanted = Standing(dict(balancer.render(plan)), plan.on)
    before = balancer.standing(wanted.files)
    record = _files.read_json(balancer.path(RECORD))
    result: dict[str, t.Any] = {
        "changed": False, "state": params["state"], "operator": False, "held_by": "", "verified": False, "directory": plan.directory,
        "from": iso(plan.window.begin) if plan.window else "", "until": iso(plan.window.end) if plan.window else "", "retry_after": plan.retry_after,
        "lines": balancer.lines(plan.header), "diff": [],
    }
    holder = whose(record, before.on, params["owner"], now)
    if holder and not params["force"]:
        if plan.on and before.on:
            return {**result, "operator": True, "held_by": holder, "on": True,
                    "warnings": [f"{plan.name} is in maintenance already, by {holder}: it was left as it is."]}
        raise SeamlessError(f"{plan.name} was put into maintenance by {holder}: it was left alone. Use force: true to take it over.", operator=True,
                            held_by=holder, on=before.on)
    kept = _record(params, plan)
    fresh = not balancer.is_known()
    if fresh and params["state"] != "off":
        raise SeamlessError(
            f"The balancer does not read {plan.directory} yet: run this with state: off, which writes the files, add these lines to its configuration and "
            f"reload it. {_shown(result['lines'])}", lines=result["lines"],
        )
    changed = before != wanted or _without_time(record) != _without_time(kept) or (not fresh and balancer.differs(wanted))
    result.update(changed=changed, on=plan.closed(now), diff=_diff(balancer, before, wanted, record, kept) if changed else [])
    if fresh:
        if changed and not check_mode:
            balancer.write_only(wanted)
        return {**result, "warnings": [f"The balancer does not read {plan.directory} yet: add these lines and reload it. {_shown(result['lines'])}"]}
    if check_mode:
        return result
    if changed:
        _change(params, plan, balancer, before, wanted, record, kept)
    else:
        verify(params, plan)
    return {**result, "verified": True}


def _change(
    params: t.Mapping[str, t.Any], plan: Plan, balancer: Balancer, before: Standing, wanted: Standing, record: t.Any, kept: dict[str, t.Any] | None
) -> None:
    """Bring it about. Where anything fails, or the site does not follow, everything is as before."""
    try:
        # Who dies in between leaves a record of a closed site that is open, never a closed one without a record.
        if kept is not None:
            _files.write_json(balancer.path(RECORD), kept)
        balancer.apply(wanted)
        verify(params, plan)
    except BaseException as exc:
        undone = "Everything was put back as it was."
        try:
            balancer.apply(before)
            _keep(balancer, record)
        except (SeamlessError, OSError) as second:
            undone = f"It could not be put back as it was: {second}"
        if not isinstance(exc, (SeamlessError, OSError)):
            raise
        hint = f" Is its site the one with the lines for {plan.name}" + (", and is the address that asks not among allow?" if params["allow"] else "?")
        raise SeamlessError(f"{plan.name} could not be brought to state {params['state']}: {exc} {undone}{hint}", lines=balancer.lines(plan.header)) from exc
    _keep(balancer, kept)


def _keep(balancer: Balancer, record: t.Any) -> None:
    if record is not None:
        _files.write_json(balancer.path(RECORD), record)
        return
    with contextlib.suppress(FileNotFoundError):
        os.unlink(balancer.path(RECORD))


def _record(params: t.Mapping[str, t.Any], plan: Plan) -> dict[str, t.Any] | None:
    if params["state"] == "off":
        return None
    window = {"from": iso(plan.window.begin), "until": iso(plan.window.end)} if plan.window else {}
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"owner": params["owner"], "state": params["state"], "reason": params["reason"], "at": at, **window}


def _without_time(record: t.Mapping[str, t.Any] | None) -> dict[str, t.Any] | None:
    return None if record is None else {key: value for key, value in record.items() if key != "at"}


def _shown(lines: t.Mapping[str, str]) -> str:
    return " ".join(f"In {place}:\n{text}" for place, text in lines.items())


def _diff(
    balancer: Balancer, before: Standing, wanted: Standing, record: t.Mapping[str, t.Any] | None, kept: t.Mapping[str, t.Any] | None
) -> list[dict[str, str]]:
    """Return what changes, as ``--diff`` shows it: the state first, then every file."""
    state = (record or {}).get("state", "off"), (kept or {}).get("state", "off")
    found = [{"before_header": "maintenance", "after_header": "maintenance", "before": f"{'on' if before.on else state[0]}\n", "after": f"{state[1]}\n"}]
    for name, data in wanted.files.items():
        old, new = balancer.shown(name, before.files.get(name)), balancer.shown(name, data)
        if old != new:
            found.append({"before_header": balancer.path(name), "after_header": balancer.path(name), "before": old, "after": new})
    return [one for one in found if one["before"] != one["after"]]
