# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""From variables, hosts and balancers to the verdicts of an audit, and to what may be tried on the one host that somebody names for it."""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils import _health
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._release.info import CURRENT
from ansible_collections.seamless.rollout.plugins.plugin_utils import _audit, _audit_hosts, _audit_traffic, _migrations
from ansible_collections.seamless.rollout.plugins.plugin_utils import _pools as pools
from ansible_collections.seamless.rollout.plugins.plugin_utils import _preflight as preflight
from ansible_collections.seamless.rollout.plugins.plugin_utils import _source as source
from ansible_collections.seamless.rollout.plugins.plugin_utils._identity import whoami
from ansible_collections.seamless.rollout.plugins.plugin_utils._ledger import default_state_dir
from ansible_collections.seamless.rollout.plugins.plugin_utils._light import is_unreachable, plain
from ansible_collections.seamless.rollout.plugins.plugin_utils._reader import FORMATS, Reader
from ansible_collections.seamless.rollout.plugins.plugin_utils._settings import read_settings

if t.TYPE_CHECKING:
    from ansible_collections.seamless.rollout.plugins.plugin_utils._hostvars import HostVariables

JUDGES: dict[str, t.Callable[[_audit.Site], _audit.Looking]] = {
    "members": _audit_traffic.members,
    "health-checks": _audit_traffic.health_checks,
    "health-endpoint": _audit_traffic.health_endpoint,
    "served-version": _audit_traffic.served_version,
    "current": _audit_hosts.current,
    "release-tree": _audit_hosts.release_tree,
    "local-state": _audit_hosts.local_state,
    "graceful-stop": _audit_traffic.graceful_stop,
    "sticky-sessions": _audit_traffic.sticky_sessions,
    "php-caches": _audit_hosts.php_caches,
    "expanded-schema": _audit_hosts.expanded_schema,
    "disk": _audit_hosts.disk,
    "clock": _audit_hosts.clock,
}


def judge(site: _audit.Site) -> list[dict[str, t.Any]]:
    """Return the verdict of every check, in the order in which they are shown."""
    return [_audit.skipped(name, site.skip[name]) if name in site.skip else JUDGES[name](site).verdict() for name in _audit.CHECKS]


@dataclasses.dataclass(frozen=True)
class AuditSettings:
    """What a user says of the audit itself."""

    consent: str
    slow_url: str
    format: str
    fail_on: str
    path: str
    skip: dict[str, str]


def read_audit_settings(values: t.Mapping[str, t.Any], hosts: t.Sequence[str]) -> AuditSettings:
    """Check the ``rollout_audit_*`` variables. Raises SeamlessError with every complaint."""
    reader = Reader(values)
    consent = reader.text("audit_consent", "the name of the host that may be taken out of rotation and restarted")
    if consent and consent not in hosts:
        near = difflib.get_close_matches(consent, hosts, n=1)
        reader.complain("audit_consent", f"it is no host of this audit, which has {', '.join(hosts)}." + (f" Did you mean {near[0]}?" if near else ""))
    slow_url = reader.text("audit_slow_url", "a URL that takes some seconds to answer on that host, such as http://127.0.0.1:8000/slow")
    try:
        _health.validate_probes([{"url": slow_url}] if slow_url else [])
    except SeamlessError:
        reader.complain("audit_slow_url", "use a complete URL such as http://127.0.0.1:8000/slow.")
    skip = reader.get("audit_skip")
    if not isinstance(skip, dict) or not all(isinstance(reason, str) and reason for reason in skip.values()):
        reader.complain("audit_skip", "use a dictionary of checks with the reason why each is left out, such as {sticky-sessions: \"no logins here\"}.")
        skip = {}
    for name in skip:
        if name not in _audit.CHECKS:
            near = difflib.get_close_matches(str(name), _audit.CHECKS, n=1)
            reader.errors.append(f"rollout_audit_skip has {name!r}: the checks are {', '.join(_audit.CHECKS)}." + (f" Did you mean {near[0]}?" if near else ""))
    reader.listing("audit_data_dirs", str, "[/var/lib/shop]")
    settings = AuditSettings(
        consent=consent,
        slow_url=slow_url,
        format=reader.choice("audit_format", FORMATS),
        fail_on=reader.choice("audit_fail_on", ("fix", "not_checked", "never")),
        path=reader.text("audit_json", "the path of a file on the controller, such as audit.json"),
        skip=dict(skip),
    )
    if reader.errors:
        raise SeamlessError("\n".join(reader.errors))
    return settings


class Auditor:
    """Works in three steps: the variables are checked, what may be tried is decided, and all of it is judged."""

    def __init__(self, variables: HostVariables, task_vars: t.Mapping[str, t.Any], hosts: t.Sequence[str]) -> None:
        self._variables, self._task_vars, self._hosts = variables, task_vars, list(hosts)
        self._values = variables.all_rollout(self._hosts[0])
        # No release has to be named for an audit.
        self._rollout = read_settings(self._values, "recover")
        self.settings = read_audit_settings(self._values, self._hosts)

    def check(self) -> dict[str, t.Any]:
        """Check every variable of every host, and return the facts that the other tasks need. Touches no host."""
        problems: list[str] = []
        groups = plain(self._task_vars["groups"])
        calls: dict[str, list[dict[str, t.Any]]] = {}
        health: dict[str, t.Any] = {}
        for host in self._hosts:
            values = self._variables.all_rollout(host)
            try:
                read_settings(values, "recover")
            except SeamlessError as exc:
                problems += [f"{host}: {line}" for line in str(exc).splitlines()]
            calls[host] = pools.without_secrets(host, pools.expand_balancers(host, values.get("rollout_balancers") or [], groups))
            # Asked for what runs now, whatever release somebody names.
            health[host] = self._variables.get(host, "rollout_health", rollout_release=CURRENT) or []
        problems += pools.unknown_machines(calls, set(groups.get("all", [])))
        if self._rollout.migrations:
            problems += _migrations.problems(self._rollout.migrations, set(groups.get("all", [])))
        if problems:
            raise SeamlessError("\n".join(problems))
        schema, why = self._schema()
        return {
            "calls": calls, "health": health, "balancers": pools.distinct_balancers(calls), "schema": schema, "schema_why": why,
            "lock_id": f"audit-{whoami()}", "owner": whoami(), "try_host": "", "try_calls": [], "try_endpoints": [], "untried": "",
        }

    def _schema(self) -> tuple[dict[str, t.Any] | None, str]:
        """Read the migrations of the release that is to come, where somebody says which that is. Returns what was found, or why nothing."""
        settings, release = self._rollout, str(self._values.get("rollout_release") or "")
        if not settings.migrations:
            return None, ""
        if not release or settings.source is None:
            return None, "name the next release with -e rollout_release, and its rollout_source, to have its migrations looked at"
        if source.fetched_by_host(settings.source):
            return None, "each host gets the release by itself: its migrations are looked at when it is staged"
        state_dir = default_state_dir(settings.app, self._values.get("rollout_state_dir"))
        found = source.resolve(settings.source, app=settings.app, release=release, rollout_id="audit", state_dir=state_dir)
        resolved = {"digest": found.digest, "revision": found.revision, "files": found.files, "bytes": found.bytes, "tree": found.tree}
        seen = _migrations.look(settings.migrations, app=settings.app, state_dir=state_dir, resolved=resolved)
        return {"release": release, "problems": seen.problems, "notes": seen.notes}, ""

    def _facts(self) -> dict[str, t.Any]:
        return dict(plain(self._task_vars["hostvars"].raw_get("localhost")["ansible_facts"]["seamless_audit"]))

    def _answers(self, name: str) -> dict[str, dict[str, t.Any]]:
        return {host: dict(plain(self._variables.raw(host).get(name) or {})) for host in self._hosts}

    def consent(self, balancers: t.Sequence[dict[str, t.Any]]) -> dict[str, t.Any]:
        """Decide whether the host that somebody named may really be tried, and by which calls it is taken out."""
        facts = self._facts()
        host = self.settings.consent
        answer = self._answers("__rollout_audit")[host]
        findings = preflight.Findings()
        infos = {pools.balancer_key(info.get("item") or {}): pools.Pools(info) for info in balancers if not info.get("failed")}
        rotation = preflight.judge_rotation(
            host, facts["calls"][host], infos, app=self._rollout.app, address=self._variables.get(host, "ansible_host"),
            max_unavailable=self._rollout.max_unavailable, min_available=self._rollout.min_available, findings=findings,
        )
        survey = answer.get("survey") or {}
        why = ""
        if answer.get("failed") or not survey:
            why = f"it gave no answer: {answer.get('msg', 'no message')}"
        elif findings.problems:
            why = findings.problems[0]
        elif not rotation.calls:
            why = "no balancer takes it out of rotation: rollout_balancers has none for it, or an operator holds it"
        elif len(infos) < len({pools.balancer_key(call) for call in facts["balancers"]}):
            why = "a balancer gave no answer"
        elif not rotation.serving:
            why = "it is not in rotation now"
        elif min(rotation.room.values(), default=1) < 1:
            why = "too few others are up to do without it"
        elif survey.get("healthy") is False or any(not service["active"] for service in survey["services"]):
            why = "it is not healthy now"
        elif survey.get("lock"):
            why = f"{survey['lock'].get('owner')} works there: {survey['lock'].get('id')}"
        elif not any(unit["action"] in ("restart", "reload") for unit in answer["units"]):
            why = "no service of rollout_services is restarted or reloaded"
        if self._task_vars.get("ansible_check_mode"):
            why = why or "this is check mode"
        if why:
            return {**facts, "untried": why}
        return {**facts, "try_host": host, "try_calls": rotation.calls, "try_endpoints": self._asked_by_balancers(host, balancers, rotation.calls)}

    def _asked_by_balancers(self, host: str, balancers: t.Sequence[dict[str, t.Any]], calls: t.Sequence[dict[str, t.Any]]) -> list[str]:
        """Return the URLs that balancers ask for the health of *host*, where they tell."""
        wanted = {(str(call["delegate"]), str(backend), str(name)) for call in calls for backend, name in call.get("servers") or []}
        found = []
        for info in balancers:
            machine = str((info.get("item") or {}).get("delegate"))
            for pool in info.get("pools") or []:
                setup = pool.get("setup") or {}
                for member in pool["members"]:
                    if (machine, pool["backend"], member["name"]) in wanted and setup.get("check") == "http" and member["port"]:
                        found.append(f"http://{member['address']}:{member['port']}{setup.get('check_path') or '/'}")
        return list(dict.fromkeys(found))

    def site(self, balancers: t.Sequence[dict[str, t.Any]]) -> _audit.Site:
        """Return all that is known, for the judges."""
        facts = self._facts()
        answers = self._answers("__rollout_audit")
        broken = {host: _why(answer) for host, answer in answers.items() if answer.get("failed") or answer.get("unreachable") or not answer}
        consent = self.settings.consent
        tried = self._answers("__rollout_audit_tried").get(consent) if facts["try_host"] else None
        untried = facts["untried"]
        # What was seen before something went wrong counts.
        if facts["try_host"] and "request" not in (tried or {}):
            problem = self._variables.raw(consent).get("__rollout_audit_problem")
            untried = str(problem or (tried or {}).get("msg") or "it was not tried")
            tried = None
        return _audit.Site(
            app=self._rollout.app,
            root=self._rollout.root.rstrip("/"),
            answers={host: answer for host, answer in answers.items() if host not in broken},
            broken=broken,
            addresses={host: self._variables.get(host, "ansible_host") for host in self._hosts},
            calls=facts["calls"],
            balancers=list(balancers),
            health=facts["health"][self._hosts[0]],
            drain_timeout=float(self._values.get("rollout_drain_timeout") or 30),
            on_drain_timeout=str(self._values.get("rollout_on_drain_timeout") or "fail"),
            keep_releases=self._rollout.keep_releases,
            min_free=str(self._values.get("rollout_min_free") or "5%"),
            schema=facts["schema"],
            schema_why=facts["schema_why"],
            consent=consent,
            tried=tried,
            untried=untried,
            skip=self.settings.skip,
        )

    def report(self, balancers: t.Sequence[dict[str, t.Any]]) -> dict[str, t.Any]:
        """Judge everything, write the file that was asked for, and return the audit as data."""
        site = self.site(balancers)
        data = _audit.report(site, judge(site), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
        if self.settings.path:
            path = os.path.abspath(os.path.expanduser(self.settings.path))
            try:
                with open(path, "w", encoding="utf-8") as file:
                    file.write(json.dumps(data, indent=2) + "\n")
            except OSError as exc:
                raise SeamlessError(f"rollout_audit_json is {self.settings.path!r}, which can't be written: {exc.strerror}.") from exc
        return data

    def fails(self, data: t.Mapping[str, t.Any]) -> bool:
        """Say whether the run ends with an exit code other than 0."""
        on = self.settings.fail_on
        return on != "never" and (not data["ready"] or (on == "not_checked" and data["counts"]["not_checked"] > 0))

    def left_out_of_rotation(self) -> str:
        """Say that the host that was tried is not back, which is worse than anything that was found."""
        host = self.settings.consent
        if not host or not self._facts()["try_host"]:
            return ""
        raw = self._variables.raw(host)
        back = plain(raw.get("__rollout_audit_enabled") or {})
        if back.get("failed"):
            return f"{host} is still out of rotation: {back.get('msg', 'no message')} Repair it; the rollout playbook puts it back."
        problem = raw.get("__rollout_audit_problem")
        return f"{host} was tried, and that went wrong: {plain(problem)}" if problem else ""


def _why(answer: t.Mapping[str, t.Any]) -> str:
    if is_unreachable(answer):
        return str(answer.get("msg") or "it can't be reached").replace("The host can't be reached: ", "")
    return str(answer.get("msg") or "no message")
