# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import subprocess
import typing as t

from conformance.subject import ADMIN, FRONT, INTERVAL, PORTS, Subject, version_of

VCL = """\
vcl 4.1;
import directors;
probe healthz {{ .url = "/healthz"; .interval = {interval}ms; .timeout = 1s; .window = {window}; .threshold = 2; }}
{backends}
sub vcl_init {{
    new app = directors.round_robin();
{app}
    new api = directors.round_robin();
{api}
}}
sub vcl_recv {{
    if (req.url ~ "^/api") {{ set req.backend_hint = api.backend(); }} else {{ set req.backend_hint = app.backend(); }}
    if (req.http.Upgrade ~ "(?i)websocket") {{ return (pipe); }}
    return (pass);
}}
sub vcl_pipe {{ if (req.http.Upgrade) {{ set bereq.http.Upgrade = req.http.Upgrade; set bereq.http.Connection = req.http.Connection; }} }}
"""


class VarnishSubject(Subject):
    driver = "varnish"
    title = "Varnish"
    limits: t.Mapping[str, str] = {
        "sticky clients": "Varnish has none by cookie",
        "weight": "weights are in the VCL",
        "second balancer unreachable": "each instance is a call of its own; lb_member's balancers and the rollout make them together",
    }
    loaded = 0
    # One probe that fails does not make a backend sick, and after it Varnish does not connect for longer than usual: whoever does not wait is noticed.
    window, held_down = 6, 1.0

    def version(self) -> str:
        return version_of("varnishd", "-V")

    def configure(self) -> None:
        lines = [f'    {{pool}}.add_backend({name});' for name in PORTS]
        text = VCL.format(
            interval=int(INTERVAL * 1000), window=self.window,
            backends="\n".join(f'backend {name} {{ .host = "127.0.0.1"; .port = "{port}"; .probe = healthz; }}' for name, port in PORTS.items()),
            app="\n".join(lines).format(pool="app"), api="\n".join(lines[:2]).format(pool="api"),
        )
        self.write("shop.vcl", text)

    def command(self) -> list[str]:
        listen = ["-a", f"127.0.0.1:{FRONT}", "-T", f"127.0.0.1:{ADMIN}"]
        held_down = ["-p", f"backend_remote_error_holddown={self.held_down}"]
        return ["varnishd", "-F", "-n", self.path("varnish"), *listen, *held_down, "-f", self.path("shop.vcl"), "-s", "malloc,32m", "-j", "none"]

    def admin(self, *words: str) -> str:
        done = subprocess.run(["varnishadm", "-n", self.path("varnish"), *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True)
        return done.stdout

    def reload(self) -> None:
        self.loaded += 1
        self.admin("vcl.load", f"shop{self.loaded}", self.path("shop.vcl"))
        self.admin("vcl.use", f"shop{self.loaded}")
        self.wait(lambda: bool(self.served()))

    def stop(self) -> None:
        if self.process:
            # The child would outlive a parent that is killed.
            self.process.terminate()
            self.process.wait()
        super().stop()

    def params(self) -> dict[str, t.Any]:
        return {"commands": {name: [name, "-n", self.path("varnish")] for name in ("varnishadm", "varnishstat")}}

    def wrong_credentials(self) -> dict[str, t.Any]:
        self.write("wrong", "not the secret\n")
        adm = ["varnishadm", "-T", f"127.0.0.1:{ADMIN}", "-S", self.path("wrong")]
        return {"commands": {**self.params()["commands"], "varnishadm": adm}}

    def take_out_by_hand(self, name: str) -> None:
        self.admin("backend.set_health", name, "sick")
