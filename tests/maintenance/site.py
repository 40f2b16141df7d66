# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A site to be closed: a real balancer in front of three applications, in the same container as the test."""

from __future__ import annotations

import contextlib
import http.client
import os
import subprocess
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._balancer.runtime_socket import RuntimeSocket
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._maintenance import operation
from ansible_collections.seamless.rollout.plugins.module_utils._maintenance.haproxy import MAP
from conformance.subject import FRONT, NAMES, PORTS, Result, Subject, version_of
from conformance.subjects.haproxy import CONFIG as HAPROXY
from conformance.subjects.haproxy import HAProxySubject
from conformance.subjects.nginx import CONFIG as NGINX
from conformance.subjects.nginx import NginxSubject

OTHER = "127.0.0.77"  # an address of this machine that is on no list


class Seen(t.NamedTuple):
    status: int
    headers: dict[str, str]
    body: str


class Site(Subject):
    """What a case needs. *drops*: the balancer closes a client's connection after a 503, and says so."""

    title = ""
    drops = False
    reloads = True
    checks = False
    sockets = True  # WebSockets pass through it, as it is configured here

    def options(self) -> dict[str, t.Any]:
        raise NotImplementedError

    def is_ready(self) -> bool:
        return bool(self.served())

    def configure(self) -> None:
        raise NotImplementedError

    def close_by_hand(self) -> None:
        """Close the site as an operator would, without the module."""
        self.write("m/shop/on", "")

    def open_by_hand(self) -> None:
        if os.path.exists(self.path("m/shop/on")):
            os.unlink(self.path("m/shop/on"))

    def do(self, state: str, *, check_mode: bool = False, **params: t.Any) -> Result:
        """Run the module with its defaults."""
        values = {name: option.get("default") for name, option in operation.ARGUMENT_SPEC.items()}
        unknown = set(params) - set(values)
        assert not unknown, unknown
        own = {
            "name": "shop", "driver": self.driver, "state": state, "state_dir": self.path("m"), "check_url": f"http://127.0.0.1:{FRONT}/",
            "health_paths": ["/healthz"], "owner": "shop", "check_seconds": 5,
        }
        return operation.run({**values, **own, **self.options(), **params}, check_mode)

    def refusal(self, call: t.Callable[[], object]) -> str:
        try:
            call()
        except SeamlessError as exc:
            return str(exc)
        raise AssertionError("it was not refused")

    def see(self, path: str = "/", source: str = "127.0.0.1", method: str = "GET", **headers: str) -> Seen:
        """Ask the site as a visitor at *source* does."""
        connection = http.client.HTTPConnection("127.0.0.1", FRONT, timeout=5, source_address=(source, 0))
        try:
            connection.request(method, path, b"x=1" if method == "POST" else None, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return Seen(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read().decode())
        finally:
            connection.close()

    def set_up(self) -> None:
        """Write the files and the lines for them, as the guide says."""
        self.write_plain()
        result = self.do("off")
        assert result["changed"] and not result["verified"] and "add these lines" in result["warnings"][0], result
        self.configure()

    def write_plain(self) -> None:
        """Write what can be started before our files are there."""

    def start(self) -> None:
        os.makedirs(self.directory, exist_ok=True)
        os.chmod(self.directory, 0o755)
        for name in NAMES:
            self.start_app(name)
        self.set_up()
        self.start_balancer()
        self.wait(self.is_ready, 15, "for the applications")

    def back_to_normal(self) -> None:
        self.open_by_hand()
        self.do("off", force=True)


class NginxSite(Site, NginxSubject):
    driver = title = "nginx"

    def configure(self) -> None:
        NginxSubject.configure(self)
        lines = self.do("off", check_mode=True)["lines"]
        text = NGINX.format(directory=self.directory, front=FRONT, extra=lines["http"] + (" keepalive_min_timeout 2s;" if self.holds_connections else ""))
        self.write("nginx.conf", text.replace(f"listen 127.0.0.1:{FRONT};", f"listen 127.0.0.1:{FRONT}; error_page 503 /own.html; {lines['server']}"))

    def write_plain(self) -> None:
        NginxSubject.configure(self)

    def options(self) -> dict[str, t.Any]:
        return {"commands": {"test": f"nginx -t -q -c {self.path('nginx.conf')}", "pid_file": self.path("nginx.pid")}}


class HAProxySite(Site, HAProxySubject):
    driver = "haproxy"
    title = "HAProxy"
    reloads = False
    checks = True

    def configure(self) -> None:
        HAProxySubject.configure(self)
        lines = self.do("off", check_mode=True)["lines"]["frontend"]
        with open(self.path("haproxy.cfg"), encoding="utf-8") as file:
            text = file.read()
        bind = f"    bind 127.0.0.1:{FRONT}\n"
        assert bind in text and "frontend" in HAPROXY
        self.write("haproxy.cfg", text.replace(bind, bind + "".join(f"    {line}\n" for line in lines.splitlines())))

    def set_up(self) -> None:
        # The socket is asked in the first call already, and nobody listens there: the plain configuration comes first.
        HAProxySubject.configure(self)
        self.start_balancer()
        super().set_up()
        self.reload()

    def start_balancer(self) -> None:
        if self.process is None:
            Subject.start_balancer(self)

    def options(self) -> dict[str, t.Any]:
        return {"socket": [self.path("admin.sock")]}

    def ask(self, command: str) -> str:
        with contextlib.suppress(SeamlessError):
            return RuntimeSocket(self.path("admin.sock")).ask(command)
        return ""

    def close_by_hand(self) -> None:
        self.ask(f"set map {self.path('m/shop')}/{MAP} on 1")

    def open_by_hand(self) -> None:
        self.ask(f"set map {self.path('m/shop')}/{MAP} on 0")


APACHE = """\
ServerRoot {directory}
ServerName localhost
PidFile {directory}/httpd.pid
ErrorLog {directory}/error.log
Listen 127.0.0.1:{front}
User www-data
Group www-data
Timeout 20
{modules}
<Proxy balancer://app>
{members}
</Proxy>
<VirtualHost *:{front}>
    {include}
    ErrorDocument 503 "a page of the site itself"
    ProxyPass / balancer://app/
</VirtualHost>
"""
MODULES = (
    "mpm_event", "authz_core", "rewrite", "headers", "slotmem_shm", "proxy", "proxy_http", "proxy_balancer", "lbmethod_byrequests",
)


class ApacheSite(Site):
    driver = "apache"
    title = "Apache httpd"
    drops = True
    sockets = False

    def version(self) -> str:
        return version_of("apache2", "-v")

    def configure(self, include: str = "") -> None:
        include = include or self.do("off", check_mode=True)["lines"]["VirtualHost"]
        modules = "\n".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so" for name in MODULES)
        members = "\n".join(f"    BalancerMember http://127.0.0.1:{port} retry=0" for port in PORTS.values())
        self.write("httpd.conf", APACHE.format(directory=self.directory, front=FRONT, modules=modules, members=members, include=include))

    def command(self) -> list[str]:
        return ["apache2", "-f", self.path("httpd.conf"), "-DFOREGROUND"]

    def reload(self) -> None:
        subprocess.run(["apache2", "-f", self.path("httpd.conf"), "-k", "graceful"], check=True)

    def options(self) -> dict[str, t.Any]:
        config = self.path("httpd.conf")
        return {"commands": {"test": f"apache2 -f {config} -t", "reload": f"apache2 -f {config} -k graceful"}}

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait(20)
        super().stop()


CADDY = """\
{{
    admin localhost:9211
    auto_https off
}}
http://:{front} {{
    {include}
    reverse_proxy {members}
}}
"""


class CaddySite(Site):
    driver = "caddy"
    title = "Caddy"
    program = "caddy"

    def version(self) -> str:
        return version_of(self.program, "version")

    def configure(self) -> None:
        members = " ".join(f"127.0.0.1:{port}" for port in PORTS.values())
        self.write("Caddyfile", CADDY.format(front=FRONT, members=members, include=self.do("off", check_mode=True)["lines"]["site"]))

    def command(self) -> list[str]:
        return [self.program, "run", "--config", self.path("Caddyfile"), "--adapter", "caddyfile"]

    def options(self) -> dict[str, t.Any]:
        config = f"--config {self.path('Caddyfile')} --adapter caddyfile"
        return {"commands": {"test": f"{self.program} validate {config}", "reload": f"{self.program} reload {config} --address localhost:9211"}}

    def reload(self) -> None:
        subprocess.run(self.options()["commands"]["reload"].split(), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class NewCaddySite(CaddySite):
    program = "/balancers/caddy"


SITES: dict[str, type[Site]] = {
    "nginx": NginxSite, "haproxy": HAProxySite, "apache": ApacheSite, "caddy": CaddySite, "caddy-new": NewCaddySite,
}


def later(seconds: float) -> str:
    """Return the moment in so many seconds, as a user would write it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))
