# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an audit makes of its evidence: verdicts, settings, and the smallest thing first."""

from __future__ import annotations

import copy
import os
import re
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.plugin_utils import _audit, _auditor

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))))
HOSTS = ["web1", "web2"]
CALL = {"driver": "haproxy", "delegate": "lb1", "socket": "/run/haproxy/admin.sock", "backend": "shop", "named": False}
SETUP = {"sticky": "none", "lifetime": 0.0, "line": "balance roundrobin", "check": "http", "check_path": "/health"}


def member(name: str, **changes: t.Any) -> dict[str, t.Any]:
    found = {
        "name": name, "address": "198.51.100.1", "port": 8000, "admin": "ready", "health": "up", "check": "L7OK", "backup": False, "operator": False,
        "drained_by": None,
    }
    return {**found, **changes}


def answer(**changes: t.Any) -> dict[str, t.Any]:
    """What a good host says."""
    found: dict[str, t.Any] = {
        "survey": {
            "current": {"kind": "link", "release": "1.0", "path": "/srv/shop/releases/1.0"}, "releases": [{"id": "1.0"}], "served_version": "1.0",
            "healthy": True,
            "health": [{"ok": True, "detail": "fine", "version": "1.0"}], "lock": None,
            "services": [{"name": "shop", "stale": False, "release": "1.0", "releases": ["1.0"], "active": True}],
            "disk": {"free_bytes": 10**10, "total_bytes": 10**11, "free_inodes": 10**6, "total_inodes": 10**7},
        },
        "units": [
            {
                "name": "shop", "unit": "shop.service", "action": "restart", "active": True, "references": [
                    {"setting": "WorkingDirectory", "kind": "current", "path": "/srv/shop/current"}
                ], "starts": {"WorkingDirectory": "/srv/shop/current"}, "stops_itself": False, "kill_mode": "control-group", "kill_signal": 15,
                "deaf": None, "stop_seconds": 90.0,
            }
        ],
        "endpoints": [{"url": "http://127.0.0.1:8000/health", "listeners": ["shop.service"], "programs": ["python3"], "front": False, "fixed": None}],
        "says": [],
        "tree": {"release": "1.0", "judged": True, "entries": 20, "bytes": 10**6, "truncated": False, "written": [], "count": 0, "bytecode": 0, "open": []},
        "mentions": [], "scripts": [], "php": [], "directories": [], "databases": [],
        "time": {"synchronised": True, "daemon": "chronyd", "container": False}, "clock": 1000.5, "asked": [1000.0, 1001.0],
    }
    return {**found, **changes}


def site(**changes: t.Any) -> _audit.Site:
    """A good site, of which nothing was tried."""
    found: dict[str, t.Any] = {
        "app": "shop", "root": "/srv/shop", "answers": {host: answer() for host in HOSTS}, "addresses": dict.fromkeys(HOSTS),
        "calls": {host: [{**CALL, "member": host}] for host in HOSTS},
        "balancers": [{"item": dict(CALL), "pools": [pool(*map(member, HOSTS))]}],
        "health": [{"url": "http://127.0.0.1:8000/health", "json": {"version": "@current@"}}],
    }
    return _audit.Site(**{**found, **changes})


def pool(*members: dict[str, t.Any], **setup: t.Any) -> dict[str, t.Any]:
    return {"balancer": "x", "backend": "shop", "members": list(members), "setup": {**SETUP, **setup}}


def balancers(*pools: dict[str, t.Any], **entry: t.Any) -> list[dict[str, t.Any]]:
    return [{"item": {**CALL, **entry}, "pools": list(pools)}]


def look(name: str, subject: _audit.Site) -> tuple[str, str, str]:
    """Return verdict, evidence and settings of one check, as text."""
    found = _auditor.JUDGES[name](subject).verdict()
    lines = [*found["evidence"], *found["not_checked"]]
    return found["verdict"], "\n".join(f"{', '.join(line['where'])}: {line['seen']}" for line in lines), "\n".join(found["settings"])


def changed(host: str, path: str, value: t.Any) -> dict[str, dict[str, t.Any]]:
    """Return the answers of a good site but for one value of *host*."""
    answers = {name: copy.deepcopy(answer()) for name in HOSTS}
    *above, last = path.split(".")
    place: t.Any = answers[host]
    for key in above:
        place = place[int(key) if key.isdigit() else key]
    place[last] = value
    return answers


def test_a_good_site_has_only_what_nobody_tried_and_what_nobody_named() -> None:
    verdicts = {one["check"]: one["verdict"] for one in _auditor.judge(site())}
    assert tuple(verdicts) == _audit.CHECKS == tuple(sorted(_auditor.JUDGES, key=_audit.CHECKS.index))
    assert {name for name, verdict in verdicts.items() if verdict != "ready"} == {"graceful-stop", "expanded-schema"}


def test_every_check_has_its_chapter_in_the_guide() -> None:
    with open(os.path.join(REPO, "docs", "docsite", "rst", "designing.rst"), encoding="utf-8") as file:
        text = file.read()
    for name in _audit.CHECKS:
        assert re.search(rf"^{name}\n-+$", text, re.MULTILINE), name
        assert f".. _ansible_collections.seamless.rollout.docsite.designing_{name.replace('-', '_')}:" in text


def test_the_smallest_thing_comes_first_and_the_line_at_the_end_says_so() -> None:
    subject = site(
        answers=changed("web2", "tree.open", ["log/shop.log"]), balancers=balancers(pool(member("web1"))),
        calls={"web1": [{**CALL, "member": "web1"}], "web2": []},
    )
    data = _audit.report(subject, _auditor.judge(subject), "now")
    assert [(item["check"], item["takes"]) for item in data["smallest_first"]] == [("release-tree", "a variable"), ("members", "another machine")]
    assert data["ready"] is False and data["counts"] == {"ready": 9, "fix": 2, "not_checked": 2}
    said = _audit.text(data)
    assert said.endswith("To fix, the smallest first: release-tree (a variable), members (another machine); 2 not checked.")
    assert "  -> rollout_linked_dirs: [log], which keeps it in shared/log" in said and "designing.rst#release-tree" in said


def test_what_is_left_out_is_not_called_ready() -> None:
    verdict = next(one for one in _auditor.judge(site(skip={"clock": "kept elsewhere"})) if one["check"] == "clock")
    assert verdict["verdict"] == "not checked" and verdict["not_checked"][0]["seen"] == "left out by rollout_audit_skip: kept elsewhere"


def test_a_host_without_an_answer_keeps_its_checks_from_being_ready() -> None:
    subject = site(answers={"web1": answer()}, broken={"web2": "no route to host"})
    open_checks = {one["check"] for one in _auditor.judge(subject) if one["verdict"] == "not checked"}
    assert open_checks >= {"health-endpoint", "served-version", "current", "release-tree", "local-state", "graceful-stop", "php-caches", "disk", "clock"}


@pytest.mark.parametrize(
    ("name", "changes", "verdict", "evidence", "setting"),
    [
        ("members", {"calls": {"web1": [], "web2": []}}, "fix", "rollout_balancers is empty", "rollout_balancers: [{driver: haproxy"),
        ("members", {"balancers": balancers(pool(member("web1"), member("web3")))}, "fix", "web2: is in no pool of lb1", "a server web2"),
        ("members", {"balancers": balancers(pool(member("web1"), member("web2", health="down")))}, "fix", "1 of 2 members are up", "repair or enable web2"),
        ("members", {"balancers": balancers(pool(member("web1"), member("web2"), member("spare", backup=True)))}, "ready", "2 of 2 members are up", ""),
        ("members", {"balancers": [{"item": dict(CALL), "failed": True, "msg": "refused"}]}, "not checked", "lb1: gives no answer: refused", ""),
        ("members", {"calls": {host: [{"driver": "health_file", "delegate": host, "member": host}] for host in HOSTS}, "balancers": []}, "not checked",
         "web1, web2: the driver health_file sees no pool", ""),
        ("health-checks", {"balancers": balancers(pool(*map(member, HOSTS)), driver="caddy"),
                           "calls": {host: [{**CALL, "driver": "caddy", "member": host}] for host in HOSTS}}, "not checked", "driver caddy does not tell", ""),
        ("health-endpoint", {"health": [{"tcp": "127.0.0.1:8000"}]}, "fix", "neither a URL nor a command", "rollout_health: [{url"),
        ("health-endpoint", {"answers": changed("web1", "survey.health", [{"ok": False, "detail": "refused", "version": None}])}, "fix",
         "web1: is not healthy now: refused", "repair web1"),
        ("health-endpoint", {"health": [{"command": "true"}], "answers": {host: answer(endpoints=[]) for host in HOSTS}}, "not checked",
         "web1, web2: a command says whether it is healthy", ""),
        ("health-checks", {"balancers": balancers(pool(member("web1"), member("web2", health="down", check="L4CON")))}, "ready", "web2 down", ""),
        ("health-checks", {"balancers": balancers(pool(member("web7"), member("web8")))}, "not checked", "there was nothing to look at", ""),
        ("health-checks", {"balancers": balancers(pool(*(member(host, check="L4OK") for host in HOSTS), check="tcp", check_path=None))}, "fix",
         "lb1/shop: the check of web1, web2 asks only whether the port is open", "option httpchk GET /health"),
        ("served-version", {"answers": changed("web1", "survey.served_version", "0.9")}, "fix", "web1: serves 0.9, and current is 1.0", "rollout_services"),
        ("served-version", {"answers": changed("web1", "survey.current", {"kind": "missing", "release": None, "path": None})}, "not checked",
         "no release is live yet", ""),
        ("current", {"answers": changed("web1", "survey.current", {"kind": "directory", "release": None, "path": "/srv/shop/current"})}, "fix",
         "web1: /srv/shop/current is a real directory", "rollout_adopt: true"),
        ("current", {"answers": {host: answer(units=[{**answer()["units"][0], "references": [], "starts": {"ExecStart": "/opt/shop/run"}}],
                                              survey={**answer()["survey"], "services": []}) for host in HOSTS}}, "fix",
         r"nothing names /srv/shop/current \(shop.service: /opt/shop/run\)", "WorkingDirectory=/srv/shop/current in shop.service"),
        ("release-tree", {"answers": changed("web2", "tree.judged", False)}, "not checked", "not marked good", ""),
        ("release-tree", {"answers": changed("web2", "tree.bytecode", 3)}, "ready", "3 files of byte code", ""),
        ("local-state", {"answers": changed("web2", "databases", [{"path": "/var/lib/shop/db.sqlite3", "unit": "shop.service", "filesystem": "ext4"}])}, "fix",
         "web2: shop.service writes a database of its own", "a database server"),
        ("graceful-stop", {"answers": changed("web2", "units.0.kill_signal", 9)}, "fix", "KillSignal=9", "KillSignal=SIGTERM"),
        ("graceful-stop", {"answers": changed("web2", "units.0.stop_seconds", 2.0)}, "fix", "is killed 2 s after the signal", "TimeoutStopSec=60"),
        ("graceful-stop", {"answers": changed("web2", "units.0.deaf", "node")}, "fix", r"web2: shop.service: its process \(node\)", "handle SIGTERM"),
        ("sticky-sessions", {"balancers": balancers(pool(*map(member, HOSTS), sticky="cookie", lifetime=20.0, line="cookie SRV insert maxlife 20s"))}, "ready",
         "for 20 s at most", ""),
        ("sticky-sessions", {"balancers": balancers(pool(*map(member, HOSTS), sticky="cookie", lifetime=None, line="c"), sticky="move")}, "ready",
         "sticky: move", ""),
        ("sticky-sessions", {"balancers": balancers(pool(*map(member, HOSTS), sticky="table", lifetime=None, line="stick on src")),
                             "on_drain_timeout": "maintenance"}, "ready", "they are sent elsewhere", ""),
        ("sticky-sessions", {"balancers": balancers(pool(*map(member, HOSTS), sticky="table", lifetime=None, line="stick on src"))}, "fix",
         "without an end", "move"),
        ("expanded-schema", {"schema": {"release": "2.0", "problems": ["users.yml: rename breaks old code"], "notes": []}}, "fix", "breaks old code", "allow"),
        ("expanded-schema", {"schema": {"release": "2.0", "problems": [], "notes": []}}, "ready", "release 2.0 has no migration", ""),
        ("disk", {"answers": changed("web1", "survey.disk.free_bytes", 5 * 10**9)}, "fix", "web1: 5 more releases .* 0 B are free", "free 5 MiB on /srv/shop"),
        ("disk", {"answers": changed("web1", "survey.disk.free_bytes", 5 * 10**9 + 3 * 10**6)}, "fix", "web1", "rollout_keep_releases: 3"),
        ("disk", {"answers": changed("web1", "survey.disk.free_inodes", 30)}, "fix", "need 100 inodes, and 30 are free", "free inodes"),
        ("clock", {"answers": changed("web1", "clock", 1005.0)}, "fix", "web1: its clock is at least 4.0 s ahead of the controller's", "timesyncd"),
        ("clock", {"answers": changed("web1", "clock", 990.0)}, "fix", "web1: its clock is at least 10.0 s behind", "timesyncd"),
        ("clock", {"answers": changed("web1", "clock", 1002.9)}, "ready", "within 2 s", ""),
        ("clock", {"answers": changed("web1", "time", {"synchronised": False, "daemon": None, "container": False})}, "fix", "no time daemon runs", "timesyncd"),
        ("clock", {"answers": changed("web1", "time", {"synchronised": False, "daemon": None, "container": True})}, "ready", "a container's", ""),
    ],
)
def test_a_verdict(name: str, changes: dict[str, t.Any], verdict: str, evidence: str, setting: str) -> None:
    found = look(name, site(**changes))
    assert found[0] == verdict, found
    assert re.search(evidence, found[1]), found
    assert setting in found[2], found


def directory(host: str, **changes: t.Any) -> dict[str, t.Any]:
    found = {
        "path": "/srv/shop/shared/uploads", "how": "rollout_linked_dirs has uploads", "filesystem": "ext4", "shared": False, "files": 2, "sessions": 0,
        "digest": "a", "newest": ["one.jpg", "two.jpg"], "readable": True, "php_sessions": False,
    }
    return {**found, **changes}


def stored(**other: t.Any) -> tuple[str, str, str]:
    return look("local-state", site(answers={"web1": answer(directories=[directory("web1")]), "web2": answer(directories=[directory("web2", **other)])}))


def test_directories_that_differ_are_each_hosts_own() -> None:
    assert stored()[0] == "ready"
    verdict, seen, setting = stored(digest="b", files=3, newest=["three.jpg", "one.jpg", "two.jpg"])
    assert verdict == "fix" and "which differ: 2 on web1, 3 on web2; three.jpg is on web2 alone" in seen and "(NFS, CephFS)" in setting
    assert look("local-state", site(answers={"web1": answer(directories=[directory("web1")]), "web2": answer()}))[0] == "fix"
    shared = {"shared": True, "filesystem": "nfs4", "digest": "b"}
    both = {host: answer(directories=[directory(host, **shared)]) for host in HOSTS}
    assert look("local-state", site(answers=both))[0] == "ready"
    assert stored(readable=False)[0] == "not checked"


def tried(**changes: t.Any) -> dict[str, t.Any]:
    request = {"url": "http://x/slow", "status": 200, "error": "", "seconds": 3.0, "in_time": True, "orders": ["restart shop.service"]}
    asked = [{"url": "http://127.0.0.1:8000/health", "alive": False, "detail": "connection refused"}]
    return {"request": request, "dead": [{"service": "shop", "unit": "shop.service", "asked": asked, "why": ""}], **changes}


def test_what_was_tried_speaks_for_hosts_that_are_the_same() -> None:
    front = {host: answer(endpoints=[{**answer()["endpoints"][0], "listeners": ["nginx.service"], "front": True}]) for host in HOSTS}
    assert look("health-endpoint", site(answers=front))[0] == "not checked"
    assert look("health-endpoint", site(answers=front, consent="web2", tried=tried()))[0] == "ready"
    # Another program answers on the other host: what was tried says nothing of it.
    front["web1"]["endpoints"][0]["listeners"] = ["caddy.service"]
    verdict, seen, dummy = look("health-endpoint", site(answers=front, consent="web2", tried=tried()))
    assert verdict == "not checked" and seen.startswith("web1: /health is answered by caddy.service, which may do so without the application")


@pytest.mark.parametrize(
    ("request_", "verdict", "words"),
    [
        ({}, "ready", "was answered with 200 across restart shop.service"),
        ({"status": None, "error": "RemoteDisconnected: gone"}, "fix", "was cut off by restart shop.service: RemoteDisconnected: gone"),
        ({"status": 502}, "fix", "answer 502"),
        ({"in_time": False, "seconds": 0.1}, "not checked", "it must take at least 2 s"),
        (None, "not checked", "name a URL that takes some seconds"),
    ],
)
def test_a_request_across_a_restart(request_: dict[str, t.Any] | None, verdict: str, words: str) -> None:
    request = None if request_ is None else {**tried()["request"], **request_}
    found = look("graceful-stop", site(consent="web2", tried=tried(request=request)))
    assert (found[0], words in found[1]) == (verdict, True), found


def test_a_worker_that_listens_nowhere_need_not_be_noticed() -> None:
    dead = [*tried()["dead"], {"service": "worker", "unit": "worker.service", "asked": [], "why": "it listens nowhere"}]
    assert look("health-endpoint", site(consent="web2", tried=tried(dead=dead)))[0] == "ready"


def test_a_version_that_the_application_says_already_is_one_variable_away() -> None:
    answers = {host: answer(says=[{"header": "X-Version"}]) for host in HOSTS}
    subject = site(health=[{"url": "http://127.0.0.1:8000/health"}], answers=answers)
    verdict = _auditor.JUDGES["served-version"](subject).verdict()
    assert verdict["effort"] == _audit.VARIABLE
    assert 'version: {header: X-Version, equals: "{{ rollout_release }}"}' in verdict["settings"][0]


def test_php_whose_caches_are_emptied_or_never_see_the_link_is_ready() -> None:
    settings = {"opcache.enable": "1", "opcache.validate_timestamps": "0", "realpath_cache_ttl": "120"}
    fpm: dict[str, t.Any] = {
        "kind": "fpm", "unit": "php8.2-fpm.service", "config": "/etc/php/8.2/fpm/php-fpm.conf", "process_control_timeout": 30.0,
        "pools": [{"name": "www", "listen": "/run/php.sock", "settings": settings}],
    }
    script = {"pass": "unix:/run/php.sock", "root": "/srv/shop/current", "script": "$document_root$fastcgi_script_name", "place": "/etc/nginx/shop.conf:7"}

    def judged(**changes: t.Any) -> tuple[str, str, str]:
        return look("php-caches", site(answers={host: answer(**{"php": [fpm], "scripts": [script], **changes}) for host in HOSTS}))

    verdict, seen, setting = judged()
    assert verdict == "fix" and "opcache.validate_timestamps=0, so for ever" in seen and "{name: php8.2-fpm, action: reload}" in setting
    assert judged(scripts=[{**script, "script": "$realpath_root$fastcgi_script_name"}])[0] == "ready"
    assert judged(units=[{**answer()["units"][0], "unit": "php8.2-fpm.service", "action": "reload"}])[0] == "ready"
    assert judged(scripts=[])[0] == "not checked"
    looked_after = {**fpm["pools"][0], "settings": {**settings, "opcache.validate_timestamps": "1"}}
    assert "realpath_cache_ttl=120 s" in judged(php=[{**fpm, "pools": [looked_after]}])[1]


def test_variables_of_the_audit_are_checked_with_what_would_do() -> None:
    good = _auditor.read_audit_settings({"rollout_audit_consent": "web2", "rollout_audit_skip": {"clock": "why"}}, HOSTS)
    assert (good.consent, good.fail_on, good.format) == ("web2", "fix", "text")
    wrong = {
        "rollout_audit_consent": "web3", "rollout_audit_slow_url": "/slow", "rollout_audit_skip": {"clock": ""}, "rollout_audit_fail_on": "fixes",
        "rollout_audit_data_dirs": "/var/lib/shop",
    }
    with pytest.raises(SeamlessError) as caught:
        _auditor.read_audit_settings(wrong, HOSTS)
    said = str(caught.value)
    assert all(name in said for name in wrong) and "http://127.0.0.1:8000/slow" in said and "(nearest: fix)" in said
