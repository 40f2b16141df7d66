# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an audit reads of a host: configuration files, directories, the live release and processes."""

from __future__ import annotations

import http.server
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils import _health
from ansible_collections.seamless.rollout.plugins.module_utils._audit import attempt, kernel, nginx, php, places, tree, units
from ansible_collections.seamless.rollout.plugins.module_utils._balancer import haproxy_config
from ansible_collections.seamless.rollout.plugins.module_utils._release import links, manifest
from ansible_collections.seamless.rollout.plugins.module_utils._release.store import Store

NGINX = {
    "nginx.conf": "http { include conf.d/*.conf; }",
    "fastcgi.conf": "fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;\nfastcgi_param QUERY_STRING $query_string;\n",
    "conf.d/shop.conf": """
        # fastcgi_pass nowhere;
        server {
            listen [::]:8000; listen 8000;
            root /srv/shop/current/public;
            location / { try_files $uri /index.php; }
            location = /health { return 200 "ok; {really}"; }
            location /static/ { root {base}/static; }
            location ~ [.]php$ { include fastcgi.conf; fastcgi_pass unix:/run/php/one.sock; }
            location ~ [.]php7$ {
                include fastcgi.conf;
                fastcgi_param SCRIPT_FILENAME $realpath_root$fastcgi_script_name;
                fastcgi_pass unix:/run/php/two.sock;
            }
        }
        server { listen 9000; root /srv/other; location / { fastcgi_pass unix:/run/php/three.sock; } }
    """,
}


@pytest.fixture
def web(tmp_path: t.Any) -> list[nginx.Directive]:
    for name, text in NGINX.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text).replace("{base}", str(tmp_path)))
    (tmp_path / "static" / "static").mkdir(parents=True)
    (tmp_path / "static" / "static" / "health").write_text("ok")
    return nginx.read_tree(str(tmp_path / "nginx.conf"))


def test_nginx_scripts_and_by_which_path(web: list[nginx.Directive], tmp_path: t.Any) -> None:
    found = {item["pass"]: item for item in nginx.scripts(web, "/srv/shop")}
    assert {name: item["script"] for name, item in found.items()} == {
        "unix:/run/php/one.sock": "$document_root$fastcgi_script_name", "unix:/run/php/two.sock": "$realpath_root$fastcgi_script_name",
    }
    assert found["unix:/run/php/one.sock"]["place"] == f"{tmp_path}/fastcgi.conf:1"
    assert found["unix:/run/php/two.sock"]["place"] == f"{tmp_path}/conf.d/shop.conf:12"
    assert nginx.files(web) >= {f"{tmp_path}/conf.d/shop.conf", f"{tmp_path}/fastcgi.conf"}


@pytest.mark.parametrize(
    ("port", "path", "words"),
    [("8000", "/health", "return 200 ok; {really} in"), ("8000", "/static/health", "static/static/health, a file that"), ("8000", "/status", None),
     ("80", "/health", None), ("9000", "/health", None)],
)
def test_nginx_that_answers_by_itself(web: list[nginx.Directive], port: str, path: str, words: str | None) -> None:
    found = nginx.fixed_answer(web, port, path)
    assert (found is None) if words is None else (words in str(found))


def test_php_settings_of_a_pool_lie_over_those_of_the_files(tmp_path: t.Any) -> None:
    (tmp_path / "pool.d").mkdir()
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "php.ini").write_text("[Session]\nsession.save_handler = files\nsession.save_path = \"2;/var/lib/php\" ; x\nopcache.validate_timestamps=1\n")
    (tmp_path / "conf.d" / "10-opcache.ini").write_text("zend_extension=opcache.so\nopcache.validate_timestamps=0\n")
    (tmp_path / "php-fpm.conf").write_text("[global]\nprocess_control_timeout = 2m\ninclude=pool.d/*.conf\n")
    (tmp_path / "pool.d" / "shop.conf").write_text("[shop]\nlisten = /run/php/$pool.sock\nphp_admin_value[session.save_handler] = redis\nuser = shop\n")
    found = php._fpm(os.getpid(), str(tmp_path / "php-fpm.conf"))
    assert found["process_control_timeout"] == 120
    (pool,) = found["pools"]
    assert (pool["name"], pool["listen"]) == ("shop", "/run/php/shop.sock")
    assert pool["settings"]["session.save_handler"] == "redis" and pool["settings"]["session.save_path"] == "2;/var/lib/php"
    assert pool["settings"]["opcache.validate_timestamps"] == "0" and pool["settings"]["opcache.enable"] == "1"
    assert php.settings_of([""])["opcache.enable"] == "0"
    assert places._session_directory("2;0600;/var/lib/php") == "/var/lib/php"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("balance roundrobin\noption httpchk GET /health", ("none", 0.0, "http", "/health")),
        ("cookie SRV insert indirect nocache maxidle 30m maxlife 8h", ("cookie", 28800.0, "tcp", None)),
        ("cookie SRV insert indirect nocache maxidle 30m # no end", ("cookie", None, "tcp", None)),
        ("stick-table type ip size 200k expire 30m\nstick on src", ("table", None, "tcp", None)),
        ("stick-table type ip size 1m store gpc0", ("none", 0.0, "tcp", None)),
        ("balance source\noption httpchk\nhttp-check send meth GET uri /ready", ("hash", 0.0, "http", "/ready")),
        ("option httpchk GET /x\nno option httpchk", ("none", 0.0, "tcp", None)),
        ("option pgsql-check user check", ("none", 0.0, "pgsql-check", None)),
    ],
)
def test_a_backend_of_haproxy(lines: str, expected: tuple[t.Any, ...]) -> None:
    found = haproxy_config.setup_of(haproxy_config.proxies([f"backend shop\n{lines}\n"])["shop"])
    assert (found.sticky, found.lifetime, found.check, found.check_path) == expected


def test_defaults_of_haproxy_are_those_before_the_backend_or_named_by_it() -> None:
    text = """
    defaults plain
        balance roundrobin
    defaults sticky from plain
        cookie SRV insert maxlife 10s
    frontend web
        cookie OTHER insert
    backend last
    backend named from plain
        server web1 198.51.100.1:80 cookie one check
    """
    found = {name: haproxy_config.setup_of(lines) for name, lines in haproxy_config.proxies([text]).items()}
    assert (found["last"].sticky, found["last"].lifetime) == ("cookie", 10.0)
    assert found["named"].sticky == "none"
    assert haproxy_config.config_files(["/usr/sbin/haproxy", "-Ws", "-f", "/etc/haproxy/haproxy.cfg", "-p", "/run/x"]) == ["/etc/haproxy/haproxy.cfg"]
    assert haproxy_config.read(os.getpid()) is None


def test_a_listing_leaves_out_what_is_each_hosts_own(tmp_path: t.Any) -> None:
    for name in ("uploads/one.jpg", "log/shop.log", "cache/x", "sess_0123456789abcdef", "shop.pid"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    found = places.listing(str(tmp_path))
    assert (found["files"], found["sessions"], sorted(found["newest"])) == (2, 1, ["sess_0123456789abcdef", "uploads/one.jpg"])
    before = found["digest"]
    (tmp_path / "log" / "other.log").write_text("x")
    assert places.listing(str(tmp_path))["digest"] == before
    (tmp_path / "uploads" / "two.jpg").write_text("x")
    assert places.listing(str(tmp_path))["digest"] != before


def test_directories_are_found_where_units_and_variables_name_them(store: Store, tmp_path: t.Any) -> None:
    for name in ("data", "log", "named"):
        (tmp_path / name).mkdir()
    os.makedirs(os.path.join(store.shared, "uploads"))
    writable, named = [str(tmp_path / "data"), store.root], [str(tmp_path / "log"), "/usr/share"]
    unit = {"unit": "shop.service", "state_directories": [], "writable": writable, "named": named, "writes": []}
    found = places.candidates(store, ["uploads"], [unit], [], [str(tmp_path / "named")])
    assert set(found) == {os.path.join(store.shared, "uploads"), str(tmp_path / "data"), str(tmp_path / "named")}


def test_what_was_written_into_the_live_release(store: Store, releases: t.Any) -> None:
    releases("1.0")
    path = store.release_path("1.0")
    past = time.time() - 100
    entries = {}
    for name in ("server.py", "config.ini", "touched.txt"):
        with open(os.path.join(path, name), "w", encoding="utf-8") as file:
            file.write("shipped")
        entries[name] = manifest.Entry(name, "f", 0o644, 7, manifest.hash_file(os.path.join(path, name)))
    entries["VERSION"] = manifest.Entry("VERSION", "f", 0o644, 3, manifest.hash_file(os.path.join(path, "VERSION")))
    with open(store.manifest_path("1.0"), "wb") as file:
        file.write(manifest.dump(entries))
    for name in os.listdir(path):
        os.utime(os.path.join(path, name), (past, past))
    links.point(store, "current", "1.0")
    store.note("switched", link="current", release="1.0")
    os.utime(store.link_path("current"), (past, past), follow_symlinks=False)
    later = time.time() + 5
    assert tree.look(store, hooks=False, processes=[])["count"] == 0

    def write(name: str, text: str) -> None:
        os.makedirs(os.path.dirname(os.path.join(path, name)), exist_ok=True)
        with open(os.path.join(path, name), "w", encoding="utf-8") as file:
            file.write(text)
        os.utime(os.path.join(path, name), (later, later))

    write("config.ini", "changed")
    write("uploads/one.jpg", "x")
    write("__pycache__/server.pyc", "x")
    os.utime(os.path.join(path, "touched.txt"), (later, later))
    os.symlink("../../shared/log", os.path.join(path, "log"))
    found = tree.look(store, hooks=False, processes=[])
    assert [(item["path"], item["kind"]) for item in found["written"]] == [("config.ini", "changed"), ("uploads/one.jpg", "new")]
    assert (found["count"], found["bytecode"], found["judged"]) == (2, 1, True)
    # Tasks of the user may have written until the release was marked good, and nobody has marked this one.
    assert tree.look(store, hooks=True, processes=[])["judged"] is False
    with open(os.path.join(path, "open.log"), "w", encoding="utf-8"):
        assert tree.look(store, hooks=False, processes=[os.getpid()])["open"] == ["open.log"]


def test_the_kernel_says_what_a_process_does(tmp_path: t.Any) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = str(listener.getsockname()[1])
        assert port in kernel.listening(os.getpid(), kernel.listeners())
        assert os.getpid() in kernel.listener_of(port, kernel.listeners())
    code = "import signal, sys, time; sys.argv[1] == 'yes' and signal.signal(15, lambda *a: None); print('up', flush=True); time.sleep(60)"
    for word, expected in (("yes", True), ("no", False)):
        with subprocess.Popen([sys.executable, "-c", code, word], stdout=subprocess.PIPE, env={"SHOP_DATA": str(tmp_path), "HOME": "/root"}) as child:
            assert child.stdout is not None
            child.stdout.readline()
            assert kernel.catches(child.pid, signal.SIGTERM) is expected
            assert kernel.environment_directories(child.pid) == [os.path.realpath(tmp_path)]
            child.kill()
    assert kernel.filesystem("/proc") == "proc"
    assert kernel.time_keeping()["synchronised"] in (True, False, None)


def test_units_name_directories_in_settings_and_command_lines() -> None:
    properties = {
        "WorkingDirectory": "/srv/shop/current", "Environment": "A=/srv/shop/releases/1.0/lib:/usr/lib TOKEN=x",
        "ExecStart": "{ path=/usr/bin/python3 ; argv[]=/usr/bin/python3 /srv/shop/releases/1.0-rc.1/run.py ; ignore_errors=no ; start_time=[n/a] }",
    }
    found = {(item["setting"], item["kind"], item["path"]) for item in units.references(units.places(properties), "/srv/shop/")}
    assert found == {
        ("WorkingDirectory", "current", "/srv/shop/current"), ("Environment", "release", "/srv/shop/releases/1.0/lib"),
        ("ExecStart", "release", "/srv/shop/releases/1.0-rc.1/run.py"),
    }
    assert units.references({"x": "/srv/shop/currently /srv/shop2/current /srv/shop/shared"}, "/srv/shop") == []
    assert (units.seconds("1min 30s"), units.seconds("90s"), units.seconds("infinity")) == (90.0, 90.0, None)


class Versioned(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b'{"build": {"number": "1.0"}, "ok": true}'
        self.send_response(200)
        self.send_header("X-Version", "1.0")
        self.send_header("Content-Length", str(len(body) + (7 if self.path == "/cut" else 0)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: t.Any) -> None:
        pass


@pytest.fixture
def server() -> t.Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Versioned) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{made.server_address[1]}"
        made.shutdown()


def test_where_answers_have_the_version(server: str) -> None:
    (probe,) = _health.validate_probes([{"url": server + "/health"}])
    assert _health.find_version(probe, "1.0") == [{"header": "X-Version"}, {"json": "build.number"}]
    assert _health.find_version(probe, "2.0") == []


def test_an_answer_that_ends_too_early_is_an_error(server: str) -> None:
    whole, cut = attempt.Request(server + "/whole", None, 5), attempt.Request(server + "/cut", None, 5)
    whole.run()
    cut.run()
    assert (whole.outcome["status"], whole.outcome["error"]) == (200, "")
    assert cut.outcome["status"] is None and "IncompleteRead" in cut.outcome["error"]
