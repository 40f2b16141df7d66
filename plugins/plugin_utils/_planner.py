# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""From variables, hosts and balancers to the facts that the other plays of a rollout follow."""

from __future__ import annotations

import dataclasses
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.plugin_utils import (
    _blockers,
    _counters,
    _floors,
    _migrations,
    _plan_facts,
    _plan_text,
    _queries,
    _steps,
    _traits,
)
from ansible_collections.seamless.rollout.plugins.plugin_utils import _pools as pools
from ansible_collections.seamless.rollout.plugins.plugin_utils import _preflight as preflight
from ansible_collections.seamless.rollout.plugins.plugin_utils import _source as source
from ansible_collections.seamless.rollout.plugins.plugin_utils import _tally as tally
from ansible_collections.seamless.rollout.plugins.plugin_utils._amounts import zone_order
from ansible_collections.seamless.rollout.plugins.plugin_utils._identity import begin, identify, paused_holders, whoami
from ansible_collections.seamless.rollout.plugins.plugin_utils._ledger import Ledger, default_state_dir
from ansible_collections.seamless.rollout.plugins.plugin_utils._light import is_unreachable
from ansible_collections.seamless.rollout.plugins.plugin_utils._plan import make_plan
from ansible_collections.seamless.rollout.plugins.plugin_utils._settings import Settings, read_settings
from ansible_collections.seamless.rollout.plugins.plugin_utils._verdict import Look
from ansible_collections.seamless.rollout.plugins.plugin_utils._withheld import whole, withheld

if t.TYPE_CHECKING:
    from ansible.parsing.dataloader import DataLoader
    from ansible_collections.seamless.rollout.plugins.plugin_utils._hostvars import HostVariables

Facts = t.Dict[str, t.Any]


class Planner:
    """Makes the ``seamless_rollout`` facts in two steps: what is wanted, then what has to be done."""

    def __init__(
        self, variables: HostVariables, *, check_mode: bool, show_only: bool, forks: int = 0, read_logs: _counters.ReadLogs = lambda asked: {}
    ) -> None:
        self._variables = variables
        self._forks, self._read_logs = forks, read_logs
        self._dry = check_mode or show_only
        self.text = ""
        self.public: dict[str, t.Any] = {}
        self.closed = ""

    def _settings(self, mode: str, host: str) -> tuple[Settings, dict[str, t.Any]]:
        values = self._variables.all_rollout(host)
        return read_settings(values, mode), values

    def _traits(self, host: str, mode: str, values: dict[str, t.Any], *, name: bool) -> _traits.Traits:
        """Check the variables of one host; return its place in the plan. What is wrong with it alone is said with its *name*."""
        try:
            return _traits.host_traits(read_settings(values, mode), self._variables.get(host, "zone"))
        except SeamlessError as exc:
            raise SeamlessError("\n".join(f"{host}: {line}" for line in str(exc).splitlines()) if name else str(exc)) from exc

    def read(
        self, mode: str, *, targets: list[str], groups: t.Mapping[str, t.Sequence[str]], places: t.Sequence[str], loader: DataLoader | None = None
    ) -> Facts:
        """Check every variable of every host, pin the source, and name the rollout. Touches no host."""
        settings, values = self._settings(mode, targets[0])
        state_dir = default_state_dir(settings.app, values.get("rollout_state_dir"))
        problems: list[str] = []
        calls: dict[str, list[dict[str, t.Any]]] = {}
        steps: dict[str, str] = {}
        traits: dict[str, _traits.Traits] = {}
        for host in targets:
            host_values = values if host == targets[0] else self._variables.all_rollout(host)
            traits[host] = self._traits(host, mode, host_values, name=host != targets[0])
            steps.update(_steps.named_steps(host_values))
            balancers = [] if settings.out_of_rotation else host_values.get("rollout_balancers") or []
            calls[host] = pools.without_secrets(host, pools.expand_balancers(host, balancers, groups))
        problems += pools.unknown_machines(calls, set(groups.get("all", [])))
        files, missing = _steps.find_steps(steps, places, loader)
        problems += missing + _traits.sort_into_tiers(traits, settings.tiers, groups)
        try:
            zone_order({host: entry["zone"] for host, entry in traits.items()}, settings.zones)
        except SeamlessError as exc:
            problems.append(str(exc))
        if settings.migrations:
            problems += _migrations.problems(settings.migrations, set(groups.get("all", [])))
        if settings.mode in ("release", "preview") and settings.source is None:
            problems.append(
                "rollout_source is not set: say where the release comes from, for example "
                "{type: directory, path: build/}; or set rollout_update_role to update with a role of your own."
            )
        if problems:
            raise SeamlessError("\n".join(problems))
        gate = _blockers.gate(settings.mode, settings.windows, settings.blockers, settings.override, dry=self._dry)
        rollout_id, dead = identify(settings, state_dir)
        resolved: dict[str, t.Any] = {}
        if settings.source is not None and settings.mode in ("release", "preview") and source.fetched_by_host(settings.source):
            source.validate_source(settings.source)
            resolved = {"checksum": settings.source["checksum"]}
        elif settings.source is not None and settings.mode in ("release", "preview"):
            release = source.resolve(settings.source, app=settings.app, release=str(settings.release), rollout_id=rollout_id, state_dir=state_dir)
            resolved = {"digest": release.digest, "revision": release.revision, "files": release.files, "bytes": release.bytes, "tree": release.tree}
        facts = {
            "id": rollout_id,
            "app": settings.app,
            "release": settings.release,
            "mode": settings.mode,
            "root": settings.root,
            "state_dir": state_dir,
            "owner": whoami(),
            "pace": settings.pace,
            "lock_ttl": settings.lock_ttl,
            "auto_promote": settings.auto_promote,
            "analysis": dataclasses.asdict(settings.analysis) if settings.analysis and settings.mode not in ("rollback", "recover", "preview") else None,
            "progress_deadline": settings.progress_deadline,
            "takeover": dead,
            "targets": targets,
            "traits": traits,
            **gate,
            "calls": calls,
            "files": files,
            "balancers": pools.distinct_balancers(calls),
            "resolved": resolved,
            "dry": self._dry,
            "stage_hosts": [],
            "roll_hosts": [],
            "window_hosts": [],
            "serial": [1],
            "order": [],
            "stages": [],
            "undo_hosts": [],
            "undo_rest_hosts": [],
            "undo_serial": [1],
            "undo_max_parallel": settings.undo_max_parallel,
            "finish_hosts": [],
            "once": {"before": settings.once_before, "after": settings.once_after},
            "once_before_hosts": [],
            "once_after_hosts": [],
            "floor": {},
            "migrations": [],
            "halted": "",
            "refused": "",
            "hosts": {},
        }
        if settings.migrations and resolved:
            seen = _migrations.look(settings.migrations, app=settings.app, state_dir=state_dir, resolved=resolved)
            if seen.problems:
                raise SeamlessError("\n".join(seen.problems))
            facts["migrations"] = seen.notes
        if not self._dry:
            # Before the lock is taken, so that a lock whose rollout died while it was planned can be told from a living one.
            begin(facts, settings)
        return withheld(facts)

    def refuse(self, facts: Facts, why: str) -> Facts:
        """Record that the rollout was refused, and say so in the facts: every host has to give its lock back."""
        if not self._dry:
            Ledger(facts["state_dir"]).set_state(facts["id"], "refused", halted=why)
        return {**facts, "refused": why}

    def plan(self, facts: Facts, *, surveys: t.Mapping[str, dict[str, t.Any]], balancers: t.Sequence[dict[str, t.Any]]) -> Facts:
        """Judge what hosts and balancers answered and decide who is updated when. Raises SeamlessError to refuse."""
        targets: list[str] = facts["targets"]
        settings, values = self._settings(facts["mode"], targets[0])
        findings = preflight.Findings()
        answers = self._answers(surveys, findings)
        facts["locks"] = preflight.locks_of_others(surveys, facts["id"])
        findings.problems += paused_holders(facts["state_dir"], surveys)
        infos = self._balancer_answers(facts, balancers, findings)
        target, content = self._target(facts, settings, answers, findings)
        mine = preflight.settled_releases(answers, findings) if settings.mode == "recover" and target is None else {}
        old = preflight.outdated(answers) if settings.mode in ("release", "promote") else set()
        facts["floor"] = _floors.fleet_floor(answers)
        _floors.check_floor(facts, {host: mine.get(host, target) for host in targets}, answers, findings)
        views = []
        rotations: dict[str, preflight.InRotation] = {}
        most = _traits.most_at_once(facts["traits"], settings)
        for host in targets:
            survey = answers.get(host)
            rotation = preflight.judge_rotation(
                host,
                facts["calls"][host],
                infos,
                app=settings.app,
                address=self._variables.get(host, "ansible_host"),
                max_unavailable=settings.max_unavailable,
                min_available=settings.min_available,
                findings=findings,
                most=most[facts["traits"][host]["tier"]],
                split_stays=settings.mode in preflight.SPLITTING,
                weight_ramp=None if settings.mode == "preview" else facts["traits"][host]["weight_ramp"],
            )
            rotations[host] = rotation
            if survey is not None and settings.mode in ("release", "rollback", "promote", "recover") and not values.get("rollout_hooks"):
                preflight.check_services(host, survey, findings)
            if survey is not None and settings.mode != "update":
                if not values.get("rollout_adopt"):
                    preflight.check_current(host, survey, settings.root, findings)
                if target and settings.mode in ("release", "preview"):
                    preflight.check_immutable(host, survey, target, content, findings)
            may_skip = settings.mode in ("release", "rollback", "promote", "recover") and not settings.force
            views.append(
                preflight.host_view(
                    host, survey, rotation, target=mine.get(host, target), content=content, may_skip=may_skip, is_outdated=host in old,
                    traits=facts["traits"][host],
                )
            )
        try:
            plan = make_plan(
                views,
                batch=settings.batch,
                canary=0 if settings.mode in ("rollback", "recover") else settings.canary,
                max_unavailable=settings.max_unavailable,
                min_available=settings.min_available,
                max_parallel=settings.max_parallel,
                max_fail=settings.max_fail,
                zones=settings.zones,
                zone_min_available=settings.zone_min_available,
                tiers=settings.tiers,
                room={pool: room for rotation in rotations.values() for pool, room in rotation.room.items()},
            )
        except SeamlessError as exc:
            findings.problems.append(str(exc))
            raise SeamlessError(_plan_text.refusal(findings.problems)) from exc
        lost = [view.name for view in views if not view.reachable and is_unreachable(surveys.get(view.name, {}))]
        if lost and len(lost) > plan.max_fail:
            findings.problems.append(
                f"{', '.join(lost)} can't be reached and rollout_max_fail is {values.get('rollout_max_fail', 0)}: repair them, leave them "
                f"out with --limit, or set rollout_max_fail to {len(lost)}."
            )
        if findings.problems:
            raise SeamlessError(_plan_text.refusal(findings.problems))
        plan.notes.extend(dict.fromkeys(findings.notes))
        plan.notes.extend(facts["migrations"])
        if settings.mode == "rollback" and (settings.windows or settings.blockers):
            plan.notes.append("rollout_windows and rollout_blockers don't hold up a rollback.")
        if settings.pace == "window" and 0 < self._forks < min(plan.max_parallel, len(plan.order)):
            plan.notes.append(
                f"ansible-playbook works on {self._forks} hosts at once (forks), so the window never holds more than that: with "
                f"--forks {plan.max_parallel} it holds {plan.max_parallel}."
            )
        _plan_facts.fill(facts, settings, plan, answers, rotations, whole=target, mine=mine, content=content, variables=self._variables, dry=self._dry)
        past = self._past(facts, infos)
        self.text = _plan_text.plan_text(facts, plan, settings, dry=self._dry)
        self.public = _plan_text.plan_public(facts, plan)
        if facts["closed"] and not facts["override"]:
            self.closed = _plan_text.refusal([*facts["closed"], _blockers.PASS])
        if not self._dry:
            ledger = Ledger(facts["state_dir"])
            ledger.save_plan(facts["id"], {**{key: facts[key] for key in _plan_text.KEPT}, **{key: self.public[key] for key in _plan_text.KEPT_PUBLIC}})
            tally.tally(ledger, facts["id"], lambda: _counters.what_is_counted(facts["hosts"], infos), 0.0)
            if past:
                ledger.event(facts["id"], "canary_past", **past)
            if facts["override"]:
                ledger.event(facts["id"], "override", reason=facts["override"], passed=facts["closed"])
        return facts

    def _past(self, facts: Facts, infos: t.Mapping[str, t.Mapping[str, t.Any]]) -> dict[str, t.Any]:
        """Return what was counted of every host before the rollout, where the canary will be judged. Raises SeamlessError where nobody counts, and where
        a gate is broken before anything was done."""
        facts["addresses"] = {}
        if not facts["analysis"] or not facts["canary"]:
            return {}
        try:
            asked = whole(facts, self._variables.get)
            broken = _queries.gates(asked["analysis"]["gates"])
            if broken:
                raise SeamlessError(f"rollout_canary_analysis.gates: {'; '.join(broken)}, before the rollout has done anything. Wait until that is over.")
            asked["addresses"] = facts["addresses"] = {host: str(self._variables.get(host, "ansible_host") or host) for host in facts["hosts"]}
            found = _counters.read(asked, lambda: infos, self._read_logs, _counters.Counted())
            return Look(time.time(), dict(found.counts), places=found.places).detail()
        except SeamlessError as exc:
            raise SeamlessError(_plan_text.refusal([str(exc)])) from exc

    def _answers(self, surveys: t.Mapping[str, dict[str, t.Any]], findings: preflight.Findings) -> dict[str, dict[str, t.Any]]:
        answers = {}
        for host, answer in surveys.items():
            if not answer.get("failed") and not answer.get("unreachable"):
                answers[host] = answer.get("survey") or {}
            elif not is_unreachable(answer):
                findings.problems.append(f"{host}: {answer.get('msg', 'failed without a message')}")
        return answers

    def _balancer_answers(
        self, facts: Facts, results: t.Sequence[dict[str, t.Any]], findings: preflight.Findings
    ) -> dict[str, dict[str, t.Any]]:
        infos: dict[str, dict[str, t.Any]] = {}
        if len(results) != len(facts["balancers"]):
            findings.problems.append("the balancers could not be asked: see the task before.")
        for call, answer in zip(facts["balancers"], results):
            if answer.get("failed") or answer.get("unreachable"):
                findings.problems.append(f"balancer {call['delegate']}: {answer.get('msg', 'no answer')}")
                infos[pools.balancer_key(call)] = {"pools": [], "broken": True}
            else:
                infos[pools.balancer_key(call)] = pools.Pools(answer)
                findings.notes += [f"{call['delegate']}: {warning}" for warning in answer.get("hints") or []]
        return {key: info for key, info in infos.items() if not info.get("broken")}

    def _target(
        self, facts: Facts, settings: Settings, answers: t.Mapping[str, dict[str, t.Any]], findings: preflight.Findings
    ) -> tuple[str | None, preflight.Content]:
        """Return the release that every host shall run, and what pins its content where that is known."""
        nothing = preflight.Content(None, None)
        if settings.mode in ("release", "preview"):
            return settings.release, preflight.Content(facts["resolved"].get("digest"), facts["resolved"].get("checksum"))
        if settings.mode == "update":
            return None, nothing
        if settings.mode == "recover" and settings.recover == "restore":
            return None, nothing
        if settings.mode == "promote":
            previews = {str(survey.get("preview")) for survey in answers.values()}
            if len(previews) != 1 or previews == {"None"}:
                findings.problems.append(
                    f"the hosts don't preview one and the same release ({', '.join(sorted(previews))}): run the preview playbook first."
                )
                return None, nothing
            target: str | None = previews.pop()
        elif settings.mode == "recover":
            wanted = {str((survey.get("lock") or {}).get("release") or "") for survey in answers.values()} - {""}
            target = self._variables.get(facts["targets"][0], "rollout_to") or (wanted.pop() if len(wanted) == 1 else None)
            if target is None:
                findings.problems.append(
                    f"no lock on these hosts says which release the dead rollout wanted ({', '.join(sorted(wanted)) or 'nothing'}): name it "
                    "with -e rollout_to=ID, or leave rollout_recover at restore."
                )
                return None, nothing
            if (settings.once_before or settings.migrations) and all(preflight.current_release(survey) != target for survey in answers.values()):
                findings.problems.append(
                    f"no host runs {target} yet, so what comes once before the hosts (rollout_once_before, rollout_migrations) may not be done, and recover "
                    f"does none of it: leave rollout_recover at restore, and roll {target} out again."
                )
        else:
            target = self._variables.get(facts["targets"][0], "rollout_to") or preflight.rollback_target(answers)
            if target is None:
                findings.problems.append("no release is marked good on these hosts besides the one they run: name one with -e rollout_to=ID.")
                return None, nothing
        missing = preflight.hosts_without(answers, str(target))
        if missing:
            findings.problems.append(f"{', '.join(missing)} can't switch to {target}: the release isn't there. Name one that all hosts have.")
        return str(target), nothing
