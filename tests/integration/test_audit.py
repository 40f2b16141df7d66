# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An audit of a good site finds nothing to fix, and one of a site with a fault that was put there finds that fault and no other."""

from __future__ import annotations

import contextlib
import json
import re
import typing as t

import pytest
from fleet.audited import FRONT, FRONT_UNIT, Audited
from fleet.fleet import Fleet
from sampling import some

Planted = contextlib.AbstractContextManager[None]


class Fault(t.NamedTuple):
    """What is wrong: what the audit must name, words of its evidence and of the setting, how it is planted, and variables of the site."""

    check: str
    evidence: str
    setting: str
    plant: t.Callable[[Audited], Planted]
    changes: dict[str, t.Any]


def nothing(site: Audited) -> Planted:
    return contextlib.nullcontext()


@contextlib.contextmanager
def front(site: Audited) -> t.Iterator[None]:
    """A program in front of the application that says 200 for its health by itself."""
    for host in site.fleet.web:
        site.fleet.put(host, "/usr/local/bin/front.py", FRONT)
        site.fleet.put(host, "/etc/systemd/system/shop-front.service", FRONT_UNIT)
    try:
        before = "systemctl stop shop; systemctl daemon-reload; systemctl start shop-front"
        with site.unit("Environment=SHOP_PORT=8001", before=before, after="systemctl stop shop-front"):
            yield
    finally:
        site.everywhere("rm /etc/systemd/system/shop-front.service; systemctl daemon-reload")


@contextlib.contextmanager
def visited(site: Audited, *lines: str, before: str = "true", after: str = "true") -> t.Iterator[None]:
    with site.unit(*lines, before=before, after=after):
        for host in site.fleet.web:
            site.fleet.shell(host, "curl -sf http://127.0.0.1:8000/visit")
        yield


@contextlib.contextmanager
def scheduled(site: Audited) -> t.Iterator[None]:
    site.fleet.put("web1", "/etc/cron.d/shop", "@daily root /srv/shop/releases/1.0/tidy.sh\n")
    yield
    site.fleet.shell("web1", "rm /etc/cron.d/shop")


@contextlib.contextmanager
def logged_in(site: Audited) -> t.Iterator[None]:
    site.everywhere("curl -sf http://127.0.0.1:8000/login.php")
    yield
    site.everywhere("rm /var/lib/php/sessions/sess_*")


COOKIE = "cookie SRV insert indirect nocache"


def sticky(text: str) -> str:
    return re.sub(r"(?m)^(    server (\w+) .*)$", r"\1 cookie \2", text.replace("balance roundrobin", f"balance roundrobin\n    {COOKIE}"))


HEALTH = [{"url": "http://127.0.0.1:8000/health"}]
PYTHON: dict[str, Fault] = {
    "a pool with one member": Fault(
        "members", r"lb1/shop: has one member, web2", "a second server in lb1/shop",
        lambda site: site.haproxy(lambda text: re.sub(r"(?m)^    server web[13] .*\n", "", text)), {"hosts": "web2"},
    ),
    "a server without a health check": Fault(
        "health-checks", r"lb1/shop: web3 is not checked", "server web3",
        lambda site: site.haproxy(lambda text: re.sub(r"(?m)^(    server web3 .*)$", r"\1 no-check", text)), {},
    ),
    "a health check that asks only the port": Fault(
        "health-checks", r"asks only whether the port is open", "option httpchk GET /health",
        lambda site: site.haproxy(lambda text: re.sub(r"(?m)^    option httpchk.*\n", "", text)), {},
    ),
    "a health endpoint that does not notice": Fault(
        "health-endpoint", r"web2: /health still answered as healthy .* after shop was stopped", "let /health be answered by shop", front, {},
    ),
    "a restart that cuts requests off": Fault(
        "graceful-stop", r"web2: a request under way was cut off by restart shop.service", "TimeoutStopSec=",
        lambda site: site.unit("Environment='SHOP_STOPS=at once'"), {},
    ),
    "no handler for SIGTERM": Fault(
        "graceful-stop", r"web1, web3: shop.service: its process \(python3\) has no handler for signal 15", "handle SIGTERM",
        lambda site: site.unit("Environment=SHOP_STOPS=unasked", hosts=["web1", "web3"]), {},
    ),
    "files in the release": Fault(
        "release-tree", r"web1, web2, web3: in /srv/shop/releases/1.0, written since it went live: visits.txt \(new\)", "visits.txt",
        lambda site: visited(site, "Environment=SHOP_LOG=visits.txt", after="rm /srv/shop/releases/1.0/visits.txt"), {},
    ),
    "sessions on the disk of each host": Fault(
        "local-state", r"web1, web2, web3: /var/lib/shop/sessions .* holds sessions on each host's own disk", "Redis",
        lambda site: visited(
            site, "Environment=SHOP_SESSIONS=/var/lib/shop/sessions", before="mkdir -p /var/lib/shop/sessions", after="rm -r /var/lib/shop",
        ), {},
    ),
    "a version that nobody asks for": Fault(
        "served-version", "no probe of rollout_health asks which version is served", 'version: {json: version, equals: "{{ rollout_release }}"}',
        nothing, {"health": HEALTH},
    ),
    "a unit that names a release": Fault(
        "current", r"web3: shop.service: WorkingDirectory names /srv/shop/releases/1.0", "/srv/shop/current",
        lambda site: site.unit("WorkingDirectory=/srv/shop/releases/1.0", hosts=["web3"]), {},
    ),
    "a job that names a release": Fault(
        "current", r"web1: /etc/cron.d/shop:1 names /srv/shop/releases/1.0", "/etc/cron.d/shop: /srv/shop/current/tidy.sh",
        scheduled, {},
    ),
    "clients bound to a server": Fault(
        "sticky-sessions", r"lb1/shop: cookie SRV insert indirect nocache binds a client to its member without an end", "sticky: move",
        lambda site: site.haproxy(sticky), {},
    ),
    "too little room": Fault(
        "disk", r"web1, web2, web3: .* more releases of .* need .* and .* are free", "rollout_keep_releases: ", nothing, {"keep_releases": 100_000_000}
    ),
}
PHP: dict[str, Fault] = {
    "php-fpm that cuts requests off": Fault(
        "graceful-stop", r"web1, web2: php8.2-fpm.service cuts requests off", "process_control_timeout = 30s",
        lambda site: site.file(
            site.fleet.web, "/etc/php/8.2/fpm/php-fpm.conf", lambda text: text.replace("process_control_timeout = 30s", ""), "systemctl restart php8.2-fpm"
        ), {},
    ),
    "a health endpoint of nginx alone": Fault(
        "health-endpoint", r"web1, web2: /health is answered without the application: return 200", "pass /health on to the application",
        lambda site: site.file(
            site.fleet.web, "/etc/nginx/conf.d/shop.conf",
            lambda text: re.sub(r"(?s)(location = /health \{).*?\}", r"""\1 return 200 '{"version": "1.0"}'; }""", text), "systemctl reload nginx",
        ), {"audit_consent": ""},
    ),
    "caches that keep the release of before": Fault(
        "php-caches", r"web1, web2: /etc/nginx/conf.d/shop.conf:\d+ gives php-fpm \$document_root", "$realpath_root$fastcgi_script_name",
        lambda site: site.file(
            site.fleet.web, "/etc/nginx/conf.d/shop.conf", lambda text: text.replace("$realpath_root", "$document_root"), "systemctl reload nginx"
        ), {"services": [], "audit_consent": ""},
    ),
    "sessions of PHP in files": Fault(
        "local-state", r"web1, web2: PHP keeps sessions in files on the host's own disk: 2 in /var/lib/php/sessions", "session.save_handler = redis",
        logged_in, {},
    ),
    "a web server that names a release": Fault(
        "current", r"web2: /etc/nginx/conf.d/shop.conf:3 names /srv/shop/releases/1.0", "/srv/shop/current/public",
        lambda site: site.file(["web2"], "/etc/nginx/conf.d/shop.conf", lambda text: text.replace("/current/", "/releases/1.0/"), "systemctl reload nginx"), {},
    ),
}


# The others run with TESTS=full.
ALWAYS = (
    "a pool with one member", "a health endpoint that does not notice", "a restart that cuts requests off", "files in the release",
)


@pytest.fixture(scope="module")
def site() -> t.Iterator[Audited]:
    with Fleet(web=3, lb=1) as fleet:
        made = Audited(fleet, "python")
        made.begin()
        yield made


@pytest.fixture(scope="module")
def php() -> t.Iterator[Audited]:
    with Fleet(web=2, lb=1, recipe="examples") as fleet:
        made = Audited(fleet, "php")
        made.begin()
        yield made


def to_fix(data: dict[str, t.Any]) -> list[str]:
    return [check["check"] for check in data["checks"] if check["verdict"] == "fix"]


def not_checked(data: dict[str, t.Any]) -> list[str]:
    return [check["check"] for check in data["checks"] if check["verdict"] == "not checked"]


def finds(site: Audited, fault: Fault) -> None:
    """Plant *fault* and see that it is what the audit names, and all that it names."""
    with fault.plant(site):
        played, data = site.audit(**{**site.fine, **fault.changes})
    assert data, played.text
    assert to_fix(data) == [fault.check], played.text
    assert played.code != 0
    check = next(check for check in data["checks"] if check["check"] == fault.check)
    seen = "\n".join(f"{', '.join(item['where'])}: {item['seen']}" for item in check["evidence"])
    assert re.search(fault.evidence, seen), seen
    assert any(fault.setting in setting for setting in check["settings"]), check["settings"]
    assert [item["check"] for item in data["smallest_first"]] == [fault.check]


def snapshot(site: Audited) -> dict[str, str]:
    """Return what must be as it was after a look: files of the application and of the system, and every process of the services."""
    files = "find /srv /etc /var/lib /usr/local -xdev -type f -printf '%p %s %T@ %C@\\n' | sort | sha256sum"
    look = f"{files}; systemctl show shop -p MainPID; readlink /srv/shop/current; true"
    return {host: site.fleet.shell(host, look) for host in site.fleet.hosts}


def test_a_good_site_has_nothing_to_fix_and_a_look_changes_nothing(site: Audited) -> None:
    before = snapshot(site)
    played, data = site.audit()
    assert played.code == 0, played.text
    assert to_fix(data) == []
    # What nobody gave consent to try is not called ready.
    assert not_checked(data) == ["graceful-stop", "expanded-schema"], played.text
    assert snapshot(site) == before
    assert re.search(r"changed=[1-9]", played.text) is None, played.text
    assert "shop is ready for rolling releases by 11 checks; 2 not checked." in played.text


def test_with_consent_one_host_is_tried_under_load_and_no_request_fails(site: Audited) -> None:
    before = snapshot(site)
    with site.load() as load:
        load.mark("audit")
        played, data = site.audit(**site.fine)
    seen = load.summary()
    assert played.code == 0, played.text
    assert seen["failed"] == 0 and seen["requests"] > 200, seen
    assert (to_fix(data), not_checked(data)) == ([], ["expanded-schema"]), played.text
    stop = next(check for check in data["checks"] if check["check"] == "graceful-stop")
    assert "was answered with 200 across restart shop.service" in stop["evidence"][0]["seen"]
    assert site.all_up()
    # The others were left alone, and nothing is left of what was done to this one.
    after = snapshot(site)
    assert {host for host in before if after[host].split("MainPID")[1] != before[host].split("MainPID")[1]} == {"web2"}
    assert "lock" not in site.fleet.shell("web2", "ls /srv/shop/.rollout").split()
    assert site.fleet.shell("lb1", "ls /var/lib/seamless-rollout/*.json 2>/dev/null | wc -l", check=False).strip() in ("0", "1")


@pytest.mark.parametrize("name", some(PYTHON, ALWAYS))
def test_a_planted_fault_is_named_and_no_other(site: Audited, name: str) -> None:
    finds(site, PYTHON[name])


@pytest.mark.full
def test_a_good_site_of_php_has_nothing_to_fix(php: Audited) -> None:
    played, data = php.audit(**php.fine)
    assert played.code == 0, played.text
    assert (to_fix(data), not_checked(data)) == ([], ["expanded-schema"]), played.text


@pytest.mark.parametrize("name", some(PHP, ALWAYS))
def test_a_planted_fault_of_php_is_named_and_no_other(php: Audited, name: str) -> None:
    finds(php, PHP[name])


def test_what_is_wrong_in_the_variables_is_refused_before_anything_is_read(site: Audited) -> None:
    played, data = site.audit(audit_consent="web22", audit_skip={"stickies": "none"}, audit_format="yaml")
    assert played.code != 0 and not data
    said = " ".join(played.text.split())
    assert "rollout_audit_consent is 'web22': it is no host of this audit" in said and "Did you mean web2?" in said
    assert "rollout_audit_skip has 'stickies'" in said and "Did you mean sticky-sessions?" in said
    assert "rollout_audit_format is 'yaml': use one of text, json" in said
    assert "Read every host" not in said


def test_in_check_mode_nobody_is_tried_and_json_is_printed(site: Audited) -> None:
    before = snapshot(site)
    played, data = site.audit("--check", **site.fine, audit_format="json", audit_skip={"clock": "a container's"}, audit_fail_on="not_checked")
    assert played.code != 0
    found = re.search(r"^\{$.*?^\}$", played.text, re.MULTILINE | re.DOTALL)
    assert found and json.loads(found[0]) == data, played.text
    assert not_checked(data) == ["graceful-stop", "expanded-schema", "clock"]
    assert snapshot(site) == before


@pytest.mark.full
def test_a_host_that_can_not_be_reached_is_not_called_ready(site: Audited) -> None:
    site.fleet.kill("web3")
    try:
        played, data = site.audit()
    finally:
        site.fleet.start("web3")
        site.settle()
    assert data["unreachable"].keys() == {"web3"}, played.text
    assert to_fix(data) == []
    assert {"current", "release-tree", "local-state", "clock", "disk", "served-version"} <= set(not_checked(data))


@pytest.mark.full
def test_a_host_that_does_not_come_back_is_said_to_be_out(site: Audited) -> None:
    with site.unit("ExecStartPre=/usr/bin/test ! -e /run/shop-broken", "TimeoutStopSec=5", hosts=["web2"], after="rm -f /run/shop-broken"):
        site.fleet.shell("web2", "touch /run/shop-broken")
        played, data = site.audit(**{**site.fine, "healthy_deadline": 3, "enable_timeout": 5})
        assert played.code != 0
        assert "web2 is still out of rotation" in " ".join(played.text.split()), played.text
        assert not site.fleet.standing("lb1")["web2"].startswith("UP")
        assert "graceful-stop" in not_checked(data)
        assert "lock" not in site.fleet.shell("web2", "ls /srv/shop/.rollout").split()
        site.fleet.shell("web2", "rm /run/shop-broken; systemctl reset-failed shop; systemctl start shop")
        # As it says, a rollout of what is live puts it back.
        again = site.rollout("1.0")
        assert again.code == 0, again.text
        assert site.all_up()


@pytest.mark.full
def test_a_host_that_a_rollout_works_on_is_left_alone(site: Audited) -> None:
    lock = {
        "id": "somebody", "owner": "ann@laptop", "ttl": 3600, "boot": site.fleet.shell("web2", "cat /proc/sys/kernel/random/boot_id").strip(),
        "monotonic": float(site.fleet.shell("web2", "cut -d' ' -f1 /proc/uptime")),
    }
    site.fleet.put("web2", "/srv/shop/.rollout/lock", json.dumps(lock))
    try:
        before = snapshot(site)
        played, data = site.audit(**site.fine)
        assert snapshot(site) == before
    finally:
        site.fleet.shell("web2", "rm /srv/shop/.rollout/lock")
    stop = next(check for check in data["checks"] if check["check"] == "graceful-stop")
    assert stop["not_checked"][0]["seen"] == "on web2: ann@laptop works there: somebody", played.text
