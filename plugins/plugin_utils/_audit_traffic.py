# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""What an audit says of requests: who takes them, who notices that somebody does not, and what becomes of those that are under way. Pure."""

from __future__ import annotations

import re
import typing as t
import urllib.parse

from ansible_collections.seamless.rollout.plugins.module_utils._balancer.registry import find_driver
from ansible_collections.seamless.rollout.plugins.module_utils._urls import shown
from ansible_collections.seamless.rollout.plugins.plugin_utils._audit import APPLICATION, LINE, MACHINE, VARIABLE, Answer, Looking, Site
from ansible_collections.seamless.rollout.plugins.plugin_utils._pools import Pools, is_serving
from ansible_collections.seamless.rollout.plugins.plugin_utils._preflight import current_release

# Balancers that say themselves whether they check a member, and how that is switched on.
CHECKING = {
    "haproxy": "in {place}: write check on its line, such as: server {member} {address}:{port} check",
    "haproxy_dataplane": "in {place}: give server {member} the option check",
    "nginx_plus": "in {place}: write health_check; in the location that passes requests to it",
    "traefik": "in {place}: give loadBalancer a healthCheck, such as: healthCheck: {{path: {path}, interval: 2s}}",
    "envoy": "in {place}: give the cluster health_checks with http_health_check: {{path: {path}}}",
    "varnish": "in {place}: give backend {member} a .probe, such as: .probe = {{ .url = \"{path}\"; .interval = 2s; }}",
    "hetzner": "in {place}: give the service a health_check of protocol http with path {path}",
    "linode": "in {place}: set check to http and check_path to {path}",
    "cloudflare": "in {place}: give the pool a monitor that asks {path}",
    "aws_target_group": "in {place}: give the target group a health check of {path}",
}
# Those that send sticky clients elsewhere at once when their member is drained.
MOVING = ("traefik", "caddy", "aws_target_group", "hetzner", "digitalocean", "health_file")
SHORT = 5  # seconds in which few requests that are under way come to their end
SLOW = "-e rollout_audit_consent=HOST -e rollout_audit_slow_url=URL, where URL takes some seconds to answer on that host"


def health_path(site: Site) -> str:
    """Return the path that the application's health is asked at."""
    urls = [str(probe["url"]) for probe in site.health if probe.get("url")]
    return (urllib.parse.urlsplit(urls[0]).path or "/") if urls else "/health"


def _silent(site: Site, look: Looking) -> None:
    """Note the balancers that gave no answer, and those that can't see a pool."""
    for info in site.balancers:
        if info.get("failed") or info.get("unreachable"):
            look.unknown(str((info.get("item") or {}).get("delegate")), f"gives no answer: {info.get('msg', 'no message')}")
    for host, calls in site.calls.items():
        for driver in {str(call["driver"]) for call in calls if not find_driver(str(call["driver"])).knows_pools}:
            look.unknown(host, f"the driver {driver} sees no pool, only the host itself: look at the balancer")


def members(site: Site) -> Looking:
    """At least two members in each pool, all hosts of the application in one, and more than one of them up."""
    look = Looking("members")
    if not any(site.calls.values()):
        look.bad(
            "", f"rollout_balancers is empty, so each of {', '.join(site.hosts)} fails requests while it restarts",
            "rollout_balancers: [{driver: haproxy, hosts: lb, socket: /run/haproxy/admin.sock, backend: " + site.app + "}]",
            VARIABLE if len(site.hosts) > 1 else MACHINE,
        )
        return look
    _silent(site, look)
    for place, dummy, pool in site.pools():
        names = [str(entry["name"]) for entry in pool["members"] if not entry["backup"]]
        up = [str(entry["name"]) for entry in pool["members"] if not entry["backup"] and is_serving(entry)]
        down = [f"{entry['name']} ({entry['admin']}, {entry['health']})" for entry in pool["members"] if not entry["backup"] and not is_serving(entry)]
        if len(names) < 2:
            look.bad(place, f"has one member, {', '.join(names)}: nobody takes its requests while it restarts", f"a second server in {place}", MACHINE)
        elif len(up) < 2:
            look.bad(place, f"{len(up)} of {len(names)} members are up, not {', '.join(down)}", f"repair or enable {', '.join(down)}", LINE)
        else:
            look.good(place, f"{len(up)} of {len(names)} members are up")
    for info in site.balancers:
        entry = dict(info.get("item") or {})
        known = Pools(info)
        for host in site.hosts if not info.get("failed") else []:
            if any(call["delegate"] == entry.get("delegate") for call in site.calls.get(host, [])) and not site.members_of(known, host, entry):
                named = sorted({pool["backend"] for pool in info.get("pools") or []})
                look.bad(
                    host, f"is in no pool of {entry.get('delegate')} ({', '.join(named) or 'which has none'})",
                    f"a server {host} in the pool of {entry.get('delegate')}, or member: in rollout_balancers where it has another name there", LINE,
                )
    return look


def health_checks(site: Site) -> Looking:
    """The balancer asks each member for its health, and asks the application, not only its port."""
    look = Looking("health-checks")
    if not any(site.calls.values()):
        look.unknown("", "no balancer is named in rollout_balancers")
    _silent(site, look)
    path = health_path(site)
    for place, entry, pool in site.pools():
        driver = str(entry.get("driver", "haproxy"))
        ready = [one for one in pool["members"] if one["admin"] == "ready"]
        unchecked = [one for one in ready if one["health"] == "nocheck"]
        setup = pool.get("setup") or {}
        if driver not in CHECKING:
            look.unknown(place, f"the driver {driver} does not tell whether {driver} checks its members")
            continue
        for one in unchecked:
            how = CHECKING[driver].format(place=place, member=one["name"], address=one["address"], port=one["port"], path=path)
            look.bad(place, f"{one['name']} is not checked: requests go on to it when it is dead", how, LINE)
        shallow = [one for one in ready if re.match(r"L[46]OK", str(one["check"]))]
        if shallow and setup.get("check", "tcp") == "tcp":
            names = ", ".join(str(one["name"]) for one in shallow)
            look.bad(
                place, f"the check of {names} asks only whether the port is open ({shallow[0]['check']})", f"in {place}: option httpchk GET {path}", LINE
            )
        elif not unchecked:
            asked = f"asks {setup['check']} {setup.get('check_path') or ''}".rstrip() if setup else "checks its members"
            look.good(place, f"{asked}: {', '.join(str(one['name']) + ' ' + str(one['health']) for one in ready)}")
    return look


def _other_version(site: Site, host: str, result: Answer) -> bool:
    """Say whether all that a probe has against a host is the version that it serves."""
    return not result["ok"] and result.get("version") is not None and result["version"] != current_release(site.answers[host]["survey"])


def health_endpoint(site: Site) -> Looking:
    """The endpoint that says whether a host is healthy fails when the application is dead."""
    look = Looking("health-endpoint")
    if not any(probe.get("url") or probe.get("command") for probe in site.health):
        seen = "rollout_health is empty" if not site.health else "rollout_health asks neither a URL nor a command: an open port says nothing of the application"
        look.bad("", seen, "rollout_health: [{url: \"http://127.0.0.1:8000/health\", json: {version: \"{{ rollout_release }}\"}}]", APPLICATION)
        return look
    look.unanswered(site)
    proven: set[tuple[t.Any, ...]] = set()
    if site.tried:
        proven = _tried_dead(site, look, site.tried)
    for host, answer in site.answers.items():
        for result in answer["survey"]["health"]:
            if not result["ok"] and not _other_version(site, host, result):
                look.bad(host, f"is not healthy now: {_brief(result['detail'])}", f"repair {host}, or correct rollout_health", APPLICATION)
        if not answer["endpoints"]:
            look.unknown(host, "a command says whether it is healthy; what that looks at is not known here")
        own = {unit["unit"] for unit in answer["units"]}
        for endpoint in answer["endpoints"]:
            path = urllib.parse.urlsplit(endpoint["url"]).path or "/"
            if endpoint["fixed"]:
                look.bad(
                    host, f"{path} is answered without the application: {endpoint['fixed']}",
                    f"pass {path} on to the application, and let it answer 200 only when it can serve", LINE,
                )
            elif _kind(endpoint) in proven or (host == site.consent and site.tried):
                continue
            elif endpoint["listeners"] and set(endpoint["listeners"]) <= own and not endpoint["front"]:
                look.good(host, f"{path} is answered by {', '.join(endpoint['listeners'])} itself")
            else:
                who = ", ".join(endpoint["listeners"]) or "something that can't be seen"
                look.unknown(
                    host, f"{path} is answered by {who}, which may do so without the application: only a try shows it (-e rollout_audit_consent=HOST)"
                )
    return look


def _brief(detail: str) -> str:
    """Return what a probe said, without the page that came with it."""
    return " ".join(detail.split())[:160]


def _kind(endpoint: Answer) -> tuple[t.Any, ...]:
    return (urllib.parse.urlsplit(endpoint["url"]).path, tuple(endpoint["listeners"]))


def _tried_dead(site: Site, look: Looking, tried: Answer) -> set[tuple[t.Any, ...]]:
    """Judge what the endpoints said while a service was stopped. Returns the kinds of endpoints that noticed it each time."""
    asked = [(item["service"], one) for item in tried["dead"] for one in item["asked"]]
    for service, one in asked:
        path = urllib.parse.urlsplit(one["url"]).path or "/"
        if one["alive"]:
            look.bad(
                site.consent, f"{path} still answered as healthy ({_brief(one['detail'])}) 10 s after {service} was stopped",
                f"let {path} be answered by {service}, or by something that asks it", APPLICATION,
            )
        else:
            look.good(site.consent, f"{path} failed when {service} was stopped ({_brief(one['detail'])})")
    for item in tried["dead"]:
        if item["why"] and not asked:
            look.unknown(site.consent, f"{item['service']} was not stopped: {item['why']}")
    fooled = {one["url"] for dummy, one in asked if one["alive"]}
    seen = {one["url"] for dummy, one in asked} - fooled
    return {_kind(endpoint) for endpoint in site.answers.get(site.consent, {}).get("endpoints", []) if endpoint["url"] in seen}


def served_version(site: Site) -> Looking:
    """The health check sees which version is served, and that is the one that is live."""
    look = Looking("served-version")
    look.unanswered(site)
    asks = any(probe.get("version") or any(re.search(r"version\Z", str(key)) for key in probe.get("json") or {}) for probe in site.health)
    if not asks:
        known = next((hint for answer in site.answers.values() for hint in answer.get("says") or []), None)
        url = next((shown(str(probe["url"])) for probe in site.health if probe.get("url")), "http://127.0.0.1:8000/health")
        wanted = "{{ rollout_release }}"
        expect = f'json: {{version: "{wanted}"}}' if known is None else (
            f'version: {{header: {known["header"]}, equals: "{wanted}"}}' if "header" in known else f'version: {{json: {known["json"]}, equals: "{wanted}"}}'
        )
        said = "the application says it already" if known else "let the application say its version there"
        look.bad(
            "", "no probe of rollout_health asks which version is served: an old process that still answers looks like success",
            f'rollout_health: [{{url: "{url}", {expect}}}] ({said})', VARIABLE if known else APPLICATION,
        )
        return look
    for host, answer in site.answers.items():
        current = current_release(answer["survey"])
        served = answer["survey"]["served_version"]
        if current is None:
            look.unknown(host, "no release is live yet")
        elif served is None:
            look.unknown(host, "the health endpoint gave no version")
        elif served != current:
            look.bad(
                host, f"serves {served}, and current is {current}", f"restart what serves on {host}: its service belongs into rollout_services", VARIABLE
            )
        else:
            look.good(host, f"serves {served}, which is current")
    return look


def graceful_stop(site: Site) -> Looking:
    """A request that is under way is answered although its service is restarted."""
    look = Looking("graceful-stop")
    look.unanswered(site)
    for host, answer in site.answers.items():
        for unit in answer["units"]:
            if unit["active"] and unit["action"] in ("restart", "reload"):
                _unit_stops(look, host, unit, answer["php"])
    tried = site.tried
    if tried is None:
        why = f"on {site.consent}: {site.untried}" if site.consent else f"only a restart with a request under way shows it: {SLOW}"
        look.unknown("", why)
        return look
    request = tried["request"]
    if request is None:
        look.unknown(site.consent, "no request was under way: name a URL that takes some seconds in rollout_audit_slow_url")
    elif not request["in_time"]:
        came = f"answered {request['status']}" if request["status"] else f"failed ({request['error']})"
        look.unknown(site.consent, f"{request['url']} {came} after {request['seconds']} s, before the restart began: it must take at least 2 s")
    elif request["error"] or not request["status"] or request["status"] >= 400:
        what = request["error"] or f"answer {request['status']}"
        look.bad(
            site.consent, f"a request under way was cut off by {', '.join(request['orders'])}: {what} after {request['seconds']} s",
            "on SIGTERM: stop accepting connections, answer what is under way, then exit; TimeoutStopSec= longer than the longest request", APPLICATION,
        )
    else:
        look.good(site.consent, f"a request of {request['seconds']} s was answered with {request['status']} across {', '.join(request['orders'])}")
    return look


def _unit_stops(look: Looking, host: str, unit: Answer, interpreters: t.Sequence[Answer]) -> None:
    """Judge what is certain without a try: a signal that nobody handles ends a process at once."""
    fpm = next((item for item in interpreters if item["kind"] == "fpm" and item["unit"] == unit["unit"]), None)
    name = unit["unit"]
    if fpm is not None:
        if fpm["process_control_timeout"] <= 0:
            look.bad(
                host, f"{name} cuts requests off when it is reloaded: process_control_timeout is 0", f"in {fpm['config']}: process_control_timeout = 30s", LINE
            )
        if unit["action"] == "restart" and unit["kill_signal"] == 15:
            look.bad(
                host, f"{name} is restarted, and SIGTERM ends php-fpm at once",
                f"rollout_services: {{name: {unit['name']}, action: reload}}, or KillSignal=SIGQUIT in the unit", VARIABLE,
            )
    elif unit["action"] == "restart" and not unit["stops_itself"]:
        if unit["kill_signal"] == 9 or unit["kill_mode"] == "none":
            setting = "KillSignal=SIGTERM" if unit["kill_signal"] == 9 else "KillMode=mixed"
            look.bad(host, f"{name} has KillSignal={unit['kill_signal']} and KillMode={unit['kill_mode']}", f"in {name}: {setting}", LINE)
        elif unit["deaf"]:
            look.bad(
                host, f"{name}: its process ({unit['deaf']}) has no handler for signal {unit['kill_signal']}, which ends it at once",
                "handle SIGTERM: stop accepting connections, answer what is under way, then exit", APPLICATION,
            )
        elif unit["stop_seconds"] is not None and unit["stop_seconds"] < SHORT:
            look.bad(host, f"{name} is killed {unit['stop_seconds']:g} s after the signal to stop", f"in {name}: TimeoutStopSec=60", LINE)


def sticky_sessions(site: Site) -> Looking:
    """A client that is bound to a member does not hold its drain up for ever."""
    look = Looking("sticky-sessions")
    if not any(site.calls.values()):
        look.unknown("", "no balancer is named in rollout_balancers")
    _silent(site, look)
    for place, entry, pool in site.pools():
        driver = str(entry.get("driver", "haproxy"))
        setup = pool.get("setup")
        if driver in MOVING:
            look.good(place, f"{driver} sends sticky clients elsewhere as soon as their member is drained")
        elif entry.get("sticky") == "move":
            look.good(place, "sticky: move sends them elsewhere at once")
        elif setup is None:
            look.unknown(place, f"what {driver} is set up with can't be read from here: where clients stick to a member, use sticky: move")
        elif setup["sticky"] in ("none", "hash"):
            look.good(place, f"no client is bound to a member ({setup['line'] or 'no cookie, no stick rule'})")
        elif setup["lifetime"] is not None and setup["lifetime"] <= site.drain_timeout:
            look.good(place, f"{setup['line']}: for {setup['lifetime']:g} s at most")
        elif site.on_drain_timeout in ("maintenance", "shutdown_sessions"):
            look.good(place, f"{setup['line']}: after {site.drain_timeout:g} s they are sent elsewhere (rollout_on_drain_timeout: {site.on_drain_timeout})")
        else:
            long = "without an end" if setup["lifetime"] is None else f"for {setup['lifetime']:g} s"
            look.bad(
                place, f"{setup['line']} binds a client to its member {long}, and a drain waits for {site.drain_timeout:g} s",
                "rollout_balancers: sticky: move (with sessions that all members share), or a cookie with maxlife below rollout_drain_timeout", VARIABLE,
            )
    return look
