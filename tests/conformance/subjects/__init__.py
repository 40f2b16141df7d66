# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The balancers under test, by name."""

from __future__ import annotations

from conformance.subject import Subject
from conformance.subjects import (
    apache,
    aws_target_group,
    caddy,
    clouds,
    envoy,
    haproxy,
    haproxy_dataplane,
    health_file,
    keepalived,
    nginx,
    nginx_plus,
    traefik,
    varnish,
)

SUBJECTS: dict[str, type[Subject]] = {
    "haproxy": haproxy.HAProxySubject,
    "health_file": health_file.OnHAProxy,
    "health_file-traefik": health_file.OnTraefik,
    "health_file-envoy": health_file.OnEnvoy,
    "health_file-varnish": health_file.OnVarnish,
    "health_file-apache": health_file.OnApache,
    "health_file-caddy": health_file.OnCaddy,
    "nginx": nginx.NginxSubject,
    "traefik": traefik.TraefikSubject,
    "envoy": envoy.EnvoySubject,
    "command": haproxy.CommandSubject,
    "example": haproxy.ExampleSubject,
    "nginx_plus": nginx_plus.NginxPlusSubject,
    "haproxy_dataplane": haproxy_dataplane.DataPlaneSubject,
    "aws_target_group": aws_target_group.AwsTargetGroupSubject,
    "hetzner": clouds.HetznerSubject,
    "digitalocean": clouds.DigitalOceanSubject,
    "linode": clouds.LinodeSubject,
    "cloudflare": clouds.CloudflareSubject,
    "apache": apache.ApacheSubject,
    "varnish": varnish.VarnishSubject,
    "caddy": caddy.CaddySubject,
    "caddy_2.6": caddy.OldCaddySubject,
    "keepalived": keepalived.KeepalivedSubject,
}
