# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""The report for those who read JUnit, such as GitLab and Jenkins: a test case a host, the canary's verdict and what was to happen once. Pure."""

from __future__ import annotations

import re
import time
import typing as t
from xml.etree import ElementTree

from ansible_collections.seamless.rollout.plugins.plugin_utils._story import Host, Story, once

# XML 1.0 has no place for these.
_UNREAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LEFT = {"skipped": "left alone", "untouched": "not reached", "pending": "not reached", "rolled_back": "taken back with the others"}


class _Case(t.NamedTuple):
    kind: str
    name: str
    seconds: float
    failure: str = ""
    skipped: str = ""
    detail: str = ""


def junit(story: Story) -> str:
    """Return the report as JUnit's XML."""
    cases = [*(_host(story, host) for host in story.hosts.values()), *_verdicts(story), *_once(story)]
    whole = f"{story.rollout['app']} {story.rollout['release'] or ''}".strip()
    counts = {
        "tests": str(len(cases)), "failures": str(sum(bool(case.failure) for case in cases)), "errors": "0",
        "skipped": str(sum(bool(case.skipped) for case in cases)), "time": _seconds(story.finished - story.started),
    }
    root = ElementTree.Element("testsuites", {"name": _real(f"rollout of {whole}"), **{key: counts[key] for key in ("tests", "failures", "errors", "time")}})
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(story.started))
    suite = ElementTree.SubElement(root, "testsuite", {"name": _real(f"rollout of {whole}"), "timestamp": stamp, **counts})
    properties = ElementTree.SubElement(suite, "properties")
    for key in ("id", "app", "release", "mode", "state", "owner", "reason"):
        ElementTree.SubElement(properties, "property", {"name": key, "value": _real(str(story.rollout[key] or ""))})
    for case in cases:
        _add(suite, f"{story.rollout['app']}.{case.kind}", case)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _add(suite: ElementTree.Element, kind: str, case: _Case) -> None:
    element = ElementTree.SubElement(suite, "testcase", {"classname": _real(kind), "name": _real(case.name), "time": _seconds(case.seconds)})
    if case.failure:
        failure = ElementTree.SubElement(element, "failure", {"message": _real(case.failure.partition("\n")[0][:500]), "type": "failure"})
        failure.text = _real(case.detail or case.failure)
    elif case.skipped:
        ElementTree.SubElement(element, "skipped", {"message": _real(case.skipped[:500])})
    elif case.detail:
        ElementTree.SubElement(element, "system-out").text = _real(case.detail)


def _host(story: Story, host: Host) -> _Case:
    state, detail = str(host.row["state"]), str(host.row["detail"] or "")
    kind = f"batch {host.group}" if host.group else "no batch"
    seconds = sum(step.seconds for step, dummy in host.steps)
    steps = "\n".join(
        f"{'undo: ' if undo else ''}{step.step}: {step.seconds:.3f} s{'' if step.ok else ', failed'}" for step, undo in host.steps
    )
    if host.went_wrong:
        why = detail or host.failure or f"the rollout left it as {state.replace('_', ' ')}"
        went = f"{why}, rolled back" if state == "rolled_back" else why
        return _Case(kind, host.name, seconds, failure=went, detail=f"{went}\n{steps}".strip())
    if state in _LEFT:
        return _Case(kind, host.name, seconds, skipped=f"{_LEFT[state]}: {detail}" if detail else _LEFT[state])
    return _Case(kind, host.name, seconds, detail="\n".join(filter(None, (detail, steps))))


def _verdicts(story: Story) -> list[_Case]:
    verdicts = [event["detail"] for event in story.events if event["event"] == "canary_verdict"]
    if not verdicts:
        return []
    verdict = verdicts[-1]
    seconds = float((verdict.get("numbers") or {}).get("seconds") or 0)
    told = f"{verdict['verdict']}: {verdict['why']}"
    if verdict["verdict"] == "fail":
        return [_Case("canary", "verdict", seconds, failure=told)]
    return [_Case("canary", "verdict", seconds, skipped="" if verdict["verdict"] == "pass" else told, detail=told)]


def _once(story: Story) -> list[_Case]:
    why = str(story.rollout["halted"] or "")
    return [
        _Case(f"once {item.point}", item.action, 0.0, failure="" if item.done else why or f"{item.action} is not done", detail=f"on {item.host}")
        for item in once(story)
    ]


def _seconds(value: float) -> str:
    return f"{max(0.0, value):.3f}"


def _real(text: str) -> str:
    return _UNREAL.sub("\N{REPLACEMENT CHARACTER}", text)
