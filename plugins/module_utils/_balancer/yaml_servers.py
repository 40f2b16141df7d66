# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import re
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError


class Server(t.NamedTuple):
    """A server of a service in a file of Traefik's file provider. *cut* is what to replace in the text, *before* what stands in front of the new
    weight there."""

    service: str
    url: str
    weight: int
    checked: bool
    cut: tuple[int, int]
    before: str


def parse(text: str, path: str) -> list[Server]:
    """Return the servers of every service with a load balancer.

    The text is read with PyYAML, which tells where each thing stands, so that a change leaves comments and order alone.
    """
    try:
        import yaml
    except ImportError as exc:
        raise SeamlessError("the driver traefik reads a YAML file: install PyYAML (python3-yaml) on the machine of the balancer.") from exc
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as exc:
        raise SeamlessError(f"{path} is not YAML: {' '.join(str(exc).split())}. Traefik's file provider reads TOML too, this driver does not.") from exc
    found = []
    for service, node in _pairs(_at(root, "http", "services")):
        balancer = _at(node, "loadBalancer")
        checked = _at(balancer, "healthCheck") is not None
        for server in getattr(_at(balancer, "servers"), "value", None) or []:
            found.append(_server(text, service, server, checked))
    return found


def _pairs(node: t.Any) -> list[tuple[str, t.Any]]:
    value = getattr(node, "value", None)
    return [(str(key.value), item) for key, item in value] if isinstance(value, list) and all(isinstance(pair, tuple) for pair in value) else []


def _at(node: t.Any, *names: str) -> t.Any:
    for name in names:
        node = next((item for key, item in _pairs(node) if key.lower() == name.lower()), None)
    return node


def _server(text: str, service: str, node: t.Any, checked: bool) -> Server:
    url, weight = _at(node, "url"), _at(node, "weight")
    if url is None:
        raise SeamlessError(f"a server of the service {service} has no url.")
    if weight is not None:
        return Server(service, str(url.value), int(weight.value), checked, (weight.start_mark.index, weight.end_mark.index), "")
    end = url.end_mark.index
    if node.flow_style:
        return Server(service, str(url.value), 1, checked, (end, end), ", \"weight\": " if _is_json(text, node) else ", weight: ")
    column = node.value[0][0].start_mark.column
    # Behind a remark that may stand on that line.
    end = text.find("\n", end) if "\n" in text[end:] else len(text)
    return Server(service, str(url.value), 1, checked, (end, end), "\n" + " " * column + "weight: ")


def _is_json(text: str, node: t.Any) -> bool:
    return bool(re.match(r"\{\s*\"", text[node.start_mark.index :]))


def with_weights(text: str, weights: t.Mapping[Server, int]) -> str:
    """Return *text* with other weights; everything else stays as it is, to the letter."""
    for server, weight in sorted(weights.items(), key=lambda item: item[0].cut, reverse=True):
        start, end = server.cut
        text = f"{text[:start]}{server.before}{weight}{text[end:]}"
    return text
