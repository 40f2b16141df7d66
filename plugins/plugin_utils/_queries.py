# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.
"""Numbers about the hosts of a rollout from Prometheus, or from anything that answers with JSON. Asked from the controller."""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import math
import typing as t
import urllib.error
import urllib.parse

from ansible_collections.seamless.rollout.plugins.module_utils import _access_log, _health
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._urls import shown
from ansible_collections.seamless.rollout.plugins.plugin_utils._asking import opened
from ansible_collections.seamless.rollout.plugins.plugin_utils._canary import Count
from ansible_collections.seamless.rollout.plugins.plugin_utils._verdict import read_number

TYPES = ("balancer", "prometheus", "json", "access_log")
GATES = ("prometheus", "json")
WHERE = ("hosts", "balancers")
_KEYS = {
    "balancer": (),
    "prometheus": ("url", "requests", "errors", "slow", "label", "headers", "timeout", "validate_certs", "ca_path"),
    "json": ("url", "requests", "errors", "slow", "headers", "timeout", "validate_certs", "ca_path"),
    "access_log": ("path", "where", "pattern", "ignore", "slow_seconds"),
}
_GATE_KEYS = ("name", "type", "url", "query", "value", "min", "max", "headers", "timeout", "validate_certs", "ca_path")
_LIMIT = 16 << 20


def source_problems(source: t.Any) -> list[str]:
    """Return a sentence for everything in ``rollout_canary_analysis.source`` that can't be read."""
    name = "rollout_canary_analysis.source"
    kind = source.get("type") if isinstance(source, dict) else None
    if kind not in TYPES:
        return [f"{name} is {source!r}: use a dictionary with a type, one of {', '.join(TYPES)}."]
    problems = [f"{name} has {key!r}, which means nothing for {kind}." for key in source if key not in ("type", *_KEYS[kind])]
    if kind == "access_log":
        problems += _log_problems(name, source)
    elif kind != "balancer":
        problems += [f"{name}.{key} is not set: {kind} needs {what}." for key, what in _wanted(kind).items() if not source.get(key)]
        problems += _common(name, source)
    return problems


def _log_problems(name: str, source: t.Mapping[str, t.Any]) -> list[str]:
    problems = [] if source.get("path") else [f"{name}.path is not set: access_log needs the log that is read, such as /var/log/nginx/access.log."]
    where = source.get("where", "hosts")
    if where not in WHERE:
        problems.append(f"{name}.where is {where!r}: use hosts for the log of each host, or balancers for theirs.")
    slow = source.get("slow_seconds")
    if slow is not None and (read_number(slow) or 0) <= 0:
        problems.append(f"{name}.slow_seconds is {slow!r}: use seconds above 0, such as 0.5.")
    wrong = _access_log.pattern_problems(source.get("pattern", _access_log.COMBINED), source.get("ignore"), slow, upstream=where == "balancers")
    return problems + [f"{name}.{problem}" for problem in wrong]


def _wanted(kind: str) -> dict[str, str]:
    what = "a query for the total of each host" if kind == "prometheus" else "the path of a total in the answer, such as http.requests"
    where = "its address, such as http://prometheus:9090" if kind == "prometheus" else "an address, with {host} for that of a host"
    return {"url": where, "requests": f"{what}, of all requests", "errors": f"{what}, of those that failed"}


def gate_problems(gates: t.Any) -> list[str]:
    """Return a sentence for everything in ``rollout_canary_analysis.gates`` that can't be read."""
    name = "rollout_canary_analysis.gates"
    if not isinstance(gates, (list, tuple)):
        return [f"{name} is {gates!r}: use a list, for example [{{type: prometheus, url: …, query: …, max: 0.01}}]."]
    problems = []
    for index, gate in enumerate(gates):
        at = f"{name}[{index}]"
        if not isinstance(gate, dict) or gate.get("type") not in GATES:
            problems.append(f"{at} is {gate!r}: use a dictionary with a type, one of {', '.join(GATES)}.")
            continue
        wanted = "query" if gate["type"] == "prometheus" else "value"
        problems += [f"{at} has {key!r}, which means nothing here: known are {', '.join(_GATE_KEYS)}." for key in gate if key not in _GATE_KEYS]
        problems += [f"{at}.{key} is not set." for key in ("url", wanted) if not gate.get(key)]
        limits = [key for key in ("min", "max") if gate.get(key) is not None]
        problems += [] if limits else [f"{at} has neither min nor max: nothing could be wrong."]
        problems += [f"{at}.{key} is {gate[key]!r}: use a number." for key in limits if not _is_limit(gate[key])]
        problems += _common(at, gate)
    return problems


def _is_limit(value: t.Any) -> bool:
    number = read_number(value)
    return number is not None and math.isfinite(number)


def _common(name: str, entry: t.Mapping[str, t.Any]) -> list[str]:
    problems = []
    if entry.get("url") and not str(entry["url"]).startswith(("http://", "https://")):
        problems.append(f"{name}.url is {shown(str(entry['url']))!r}: use an address that begins with http:// or https://.")
    seconds = read_number(entry.get("timeout", 10))
    if seconds is None or not 0 < seconds <= 600:
        problems.append(f"{name}.timeout is {entry.get('timeout')!r}: use seconds above 0 and up to 600, such as 10.")
    return problems


def counters(source: t.Mapping[str, t.Any], addresses: t.Mapping[str, str]) -> dict[str, Count]:
    """Return the totals of each host, by the name of its counter. *addresses* are those of the hosts. Raises SeamlessError for what gives no numbers."""
    metrics = [name for name in Count._fields if source.get(name)]
    if source["type"] == "prometheus":
        values = {name: _of_hosts(source, str(source[name]), addresses, maybe_none=name != "requests") for name in metrics}
    else:
        answers = _answers(source, addresses)
        values = {name: {host: _dug(answer, str(source[name]), host) for host, answer in answers.items()} for name in metrics}
    rows = {host: {name: values[name].get(host, 0.0) for name in metrics} for host in addresses if host in values["requests"]}
    # A host one of whose numbers is NaN is left out as a whole: its failures would be none, and all of them new with the next reading.
    return {
        f"{host}|{source['type']}": Count(**{name: int(value) for name, value in row.items()})
        for host, row in rows.items() if all(math.isfinite(value) for value in row.values())
    }


def gates(entries: t.Sequence[t.Mapping[str, t.Any]]) -> list[str]:
    """Return a sentence for each gate that is not kept now. Raises SeamlessError for one that gives no number."""
    sentences = []
    for gate in entries:
        if gate["type"] == "prometheus":
            found = [value for dummy, value in _vector(gate, str(gate["query"]))]
        else:
            found = [_dug(_ask(gate, str(gate["url"])), str(gate["value"]), "")]
        name = gate.get("name") or gate.get("query") or gate.get("value")
        if not found:
            raise SeamlessError(f"{name}: {shown(str(gate['url']))} has no value for it")
        wrong = next((value for value in found if not math.isfinite(value)), None)
        if wrong is not None:
            raise SeamlessError(f"{name} is {wrong}, which is no number: have it give one always, or take the gate out of rollout_canary_analysis.gates.")
        sentences += [f"{name} is {value:g}, above {gate['max']}" for value in found if gate.get("max") is not None and value > float(gate["max"])]
        sentences += [f"{name} is {value:g}, below {gate['min']}" for value in found if gate.get("min") is not None and value < float(gate["min"])]
    return sentences


def _answers(source: t.Mapping[str, t.Any], addresses: t.Mapping[str, str]) -> dict[str, t.Any]:
    """Ask every host at the same moment. One that gives no answer is left out, as it may be the one that is being updated; raises where none gives any."""

    def ask(url: str) -> t.Any:
        try:
            return _ask(source, url)
        except SeamlessError as exc:
            return exc

    urls = {host: str(source["url"]).replace("{host}", address) for host, address in addresses.items()}
    if not urls:
        return {}
    different = list(dict.fromkeys(urls.values()))
    with concurrent.futures.ThreadPoolExecutor(max_workers=min(len(different), 8)) as pool:
        found = dict(zip(different, pool.map(ask, different)))
    answers = {host: found[url] for host, url in urls.items() if not isinstance(found[url], SeamlessError)}
    if not answers:
        raise next(iter(found.values()))
    return answers


def _of_hosts(source: t.Mapping[str, t.Any], query: str, addresses: t.Mapping[str, str], *, maybe_none: bool) -> dict[str, float]:
    """Return the values of *query* by host: its label is the host's name or address, with a port or without. With *maybe_none*, no series at all is fine."""
    label = str(source.get("label") or "instance")
    known = {name: host for host, address in addresses.items() for name in (host, address)}
    found: dict[str, float] = {}
    series = _vector(source, query)
    if maybe_none and not series:
        return found
    for labels, value in series:
        word = str(labels.get(label, ""))
        host = known.get(word) or known.get(word.rpartition(":")[0].strip("[]"))
        if host:
            found[host] = found.get(host, 0.0) + value
    if not found:
        raise SeamlessError(f"{shown(str(source['url']))} knows none of these hosts: no value of {query!r} has one of them in its label {label}.")
    return found


def _vector(entry: t.Mapping[str, t.Any], query: str) -> list[tuple[dict[str, str], float]]:
    """Return labels and value of each series that Prometheus has for *query* now."""
    answer = _ask(entry, f"{str(entry['url']).rstrip('/')}/api/v1/query?{urllib.parse.urlencode({'query': query})}")
    data = answer.get("data") if isinstance(answer, dict) and answer.get("status") == "success" else None
    try:
        if data["resultType"] == "scalar":  # type: ignore[index]
            return [({}, float(data["result"][1]))]  # type: ignore[index]
        return [(one["metric"], float(one["value"][1])) for one in data["result"]]  # type: ignore[index]
    except (TypeError, KeyError, IndexError, ValueError) as exc:
        raise SeamlessError(f"{shown(str(entry['url']))} has no numbers for {query!r}: {json.dumps(answer)[:200]}") from exc


def _dug(answer: t.Any, path: str, host: str) -> float:
    number = read_number(_health._dig(answer, path))
    if number is None or not math.isfinite(number):
        raise SeamlessError(f"the answer{f' of {host}' if host else ''} has no number at {path!r}: {json.dumps(answer)[:200]}")
    return number


def _ask(entry: t.Mapping[str, t.Any], url: str) -> t.Any:
    try:
        response = opened(entry, url, float(entry.get("timeout", 10)))
        return json.loads(response.read(_LIMIT))
    except urllib.error.HTTPError as exc:
        raise SeamlessError(f"{shown(url)} answered {exc.code}") from exc
    except (OSError, ValueError, http.client.HTTPException) as exc:
        raise SeamlessError(f"{shown(url)} gave no answer that could be read: {getattr(exc, 'reason', None) or exc}") from exc
