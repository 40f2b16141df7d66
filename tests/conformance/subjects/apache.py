# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import hashlib
import os
import re
import signal
import subprocess
import typing as t
import urllib.parse
import urllib.request

from conformance.subject import ADMIN, FRONT, PORTS, Subject, version_of

MODULES = (
    "mpm_event authn_core authn_file auth_basic authz_core authz_host authz_user proxy proxy_http proxy_balancer lbmethod_byrequests slotmem_shm "
    "headers proxy_hcheck"
)
CONFIG = """\
{modules}
ServerName localhost
PidFile {directory}/httpd.pid
Mutex file:{directory} default
DefaultRuntimeDir {directory}
ErrorLog {directory}/log
User www-data
Group www-data
Listen 127.0.0.1:{front}
Listen 127.0.0.1:{admin}
KeepAliveTimeout 15
MaxKeepAliveRequests 0
<VirtualHost 127.0.0.1:{front} 127.0.0.1:{admin}>
 ProxyHCExpr ok {{%{{REQUEST_STATUS}} =~ /^[23]/}}
 <Proxy "balancer://app">
{app}
  ProxySet lbmethod=byrequests stickysession=ROUTEID
 </Proxy>
 <Proxy "balancer://api">
{api}
 </Proxy>
 Header add Set-Cookie "ROUTEID=.%{{BALANCER_WORKER_ROUTE}}e; path=/" env=BALANCER_ROUTE_CHANGED
 <Location /balancer-manager>
  SetHandler balancer-manager
  AuthType Basic
  AuthName operators
  AuthUserFile {directory}/users
  Require valid-user
 </Location>
 ProxyPass /balancer-manager !
 ProxyPass /api balancer://api/api
 ProxyPass / balancer://app/
</VirtualHost>
"""


class ApacheSubject(Subject):
    driver = "apache"
    title = "Apache mod_proxy_balancer"

    def version(self) -> str:
        return version_of("apache2", "-v")

    def configure(self) -> None:
        check = "hcmethod=GET hcuri=/healthz hcinterval=1 hcexpr=ok"
        lines = [f'  BalancerMember "http://127.0.0.1:{port}" route={name} upgrade=websocket retry=2 {check}' for name, port in PORTS.items()]
        text = CONFIG.format(
            modules="\n".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so" for name in MODULES.split()),
            directory=self.directory, front=FRONT, admin=ADMIN, app="\n".join(lines), api="\n".join(lines[:2]),
        )
        self.write("apache.conf", text)
        # Its children run as another user, who has to read the passwords.
        os.chmod(self.directory, 0o755)
        secret = base64.b64encode(hashlib.sha1(b"secret").digest()).decode()
        self.write("users", f"operator:{{SHA}}{secret}\n")

    def command(self) -> list[str]:
        return ["apache2", "-DFOREGROUND", "-f", self.path("apache.conf")]

    def reload(self) -> None:
        assert self.process
        old = self.children()
        self.process.send_signal(signal.SIGUSR1)
        self.wait(lambda: bool(self.children()) and not self.children() & old, 20)

    def stop(self) -> None:
        if self.process:
            # Its children would outlive a parent that is killed, and keep the port.
            self.process.terminate()
            self.process.wait()
        super().stop()

    def children(self) -> set[str]:
        assert self.process
        found = subprocess.run(["pgrep", "-P", str(self.process.pid)], stdout=subprocess.PIPE, text=True, check=False)
        return set(found.stdout.split())

    def params(self) -> dict[str, t.Any]:
        return {"url": [self.manager], "username": "operator", "password": "secret"}

    @property
    def manager(self) -> str:
        return f"http://127.0.0.1:{ADMIN}/balancer-manager"

    def dead_second(self) -> dict[str, t.Any]:
        return {"url": [self.manager, f"http://127.0.0.1:{ADMIN + 1}/balancer-manager"]}

    def wrong_credentials(self) -> dict[str, t.Any]:
        return {"password": "another"}

    def take_out_by_hand(self, name: str) -> None:
        page = self.ask("")
        nonce = re.search(r"b=app&amp;nonce=([0-9a-f-]+)", page)
        assert nonce, page
        self.ask(urllib.parse.urlencode({"b": "app", "w": f"http://127.0.0.1:{PORTS[name]}", "nonce": nonce[1], "w_status_D": "1"}))

    def ask(self, body: str) -> str:
        login = base64.b64encode(b"operator:secret").decode()
        request = urllib.request.Request(self.manager, body.encode() or None, {"Referer": self.manager, "Authorization": f"Basic {login}"})
        with urllib.request.urlopen(request, timeout=5) as answer:
            return t.cast(str, answer.read().decode())
