# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import signal
import typing as t

from conformance.subject import ADMIN, FRONT, INTERVAL, PORTS, Subject, version_of

HTTP = "type.googleapis.com/envoy.extensions.filters"


class EnvoySubject(Subject):
    driver = "envoy"
    title = "Envoy"
    keeps_state = True
    limits: t.Mapping[str, str] = {
        "sticky clients": "a draining endpoint gets no request of a hash policy either",
        "wrong credentials": "the admin interface has none",
    }

    def version(self) -> str:
        return version_of("/balancers/envoy", "--version")

    def _cluster(self, name: str) -> dict[str, t.Any]:
        seconds = f"{INTERVAL}s"
        check = {
            "timeout": "1s", "interval": seconds, "no_traffic_interval": seconds, "unhealthy_threshold": 2, "healthy_threshold": 2,
            "http_health_check": {"path": "/healthz"},
        }
        watched = {"path": self.path(f"eds/{name}.json"), "watched_directory": {"path": self.path("eds")}}
        return {
            "name": name, "type": "EDS", "connect_timeout": "1s", "lb_policy": "ROUND_ROBIN", "health_checks": [check],
            "eds_cluster_config": {"service_name": name, "eds_config": {"resource_api_version": "V3", "path_config_source": watched}},
        }

    def _listener(self) -> dict[str, t.Any]:
        routes = [
            {"match": {"prefix": "/api"}, "route": {"cluster": "api"}},
            {"match": {"prefix": "/"}, "route": {"cluster": "app"}},
        ]
        manager = {
            "@type": f"{HTTP}.network.http_connection_manager.v3.HttpConnectionManager", "stat_prefix": "in",
            "upgrade_configs": [{"upgrade_type": "websocket"}],
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
            "http_filters": [{"name": "router", "typed_config": {"@type": f"{HTTP}.http.router.v3.Router"}}],
        }
        return {
            "name": "web", "address": {"socket_address": {"address": "127.0.0.1", "port_value": FRONT}},
            "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
        }

    def configure(self) -> None:
        endpoints = [
            {
                "endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}, "hostname": name},
                "load_balancing_weight": 10,
            }
            for name, port in PORTS.items()
        ]
        os.makedirs(self.path("eds"), exist_ok=True)
        for name, members in (("app", endpoints), ("api", endpoints[:2])):
            resource = {
                "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment", "cluster_name": name,
                "endpoints": [{"lb_endpoints": members}],
            }
            self.write(f"eds/{name}.json", json.dumps({"version_info": "by hand", "resources": [resource]}))
        static = {"listeners": [self._listener()], "clusters": [self._cluster("app"), self._cluster("api")]}
        admin = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": ADMIN}}}
        self.write("envoy.json", json.dumps({"node": {"id": "n", "cluster": "c"}, "admin": admin, "static_resources": static}))

    def command(self) -> list[str]:
        return ["/balancers/envoy", "-c", self.path("envoy.json"), "--concurrency", "2", "-l", "warning", "--disable-hot-restart"]

    def reload(self) -> None:
        """Envoy reads endpoints by itself; for the rest it is started anew."""
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        self.start_balancer()

    def params(self) -> dict[str, t.Any]:
        return {"path": self.path("eds"), "url": [f"http://127.0.0.1:{ADMIN}"]}

    def dead_second(self) -> dict[str, t.Any]:
        return {"url": [f"http://127.0.0.1:{ADMIN}", f"http://127.0.0.1:{ADMIN + 1}"]}

    def take_out_by_hand(self, name: str) -> None:
        with open(self.path("eds/app.json"), encoding="utf-8") as file:
            content = json.load(file)
        for endpoint in content["resources"][0]["endpoints"][0]["lb_endpoints"]:
            if endpoint["endpoint"]["hostname"] == name:
                endpoint["health_status"] = "DRAINING"
        self.write("eds/app.json", json.dumps({**content, "version_info": "by hand again"}))
        self.wait(lambda: name not in self.served())
