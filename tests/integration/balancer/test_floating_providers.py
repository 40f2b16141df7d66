# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floating IPs of providers, against stand-ins that refuse what the real ones refuse."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils import _operations
from ansible_collections.seamless.rollout.plugins.module_utils._balancer import cloud
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from conformance.fakes.floating_ips import ADDRESS, OTHER, DigitalOceanAddresses, HetznerAddresses, LinodeAddresses, Moving, Running, serve
from fleet.fleet import REPO

FAKES: dict[str, tuple[type[Moving], str]] = {
    "hetzner": (HetznerAddresses, "/v1"), "digitalocean": (DigitalOceanAddresses, "/v2"), "linode": (LinodeAddresses, "/v4"),
}
# Where an address need not be anywhere.
FREE = ("hetzner", "digitalocean")


class Provider(t.NamedTuple):
    method: str
    running: Running

    @property
    def fake(self) -> t.Any:
        return self.running.fake

    def call(self, operation: str = "floating_ip", *, check_mode: bool = False, **params: t.Any) -> dict[str, t.Any]:
        module = _operations.load(operation)
        values = {name: option.get("default") for name, option in module.ARGUMENT_SPEC.items()}
        url = self.running.url + FAKES[self.method][1]
        values.update(method=self.method, url=url, token="secret", address=ADDRESS, timeout=5.0)
        return t.cast("dict[str, t.Any]", module.run({**values, **params}, check_mode))

    def refusal(self, **params: t.Any) -> str:
        with pytest.raises(SeamlessError) as caught:
            self.call(**params)
        return str(caught.value)


@contextlib.contextmanager
def served(method: str) -> t.Iterator[Provider]:
    running = serve(FAKES[method][0]())
    try:
        yield Provider(method, running)
    finally:
        running.server.shutdown()
        running.server.server_close()


@pytest.fixture(params=list(FAKES))
def provider(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[Provider]:
    monkeypatch.setattr(cloud, "PAUSE", 0.05)
    with served(request.param) as one:
        yield one


@pytest.fixture
def one_provider() -> t.Iterator[Provider]:
    with served("hetzner") as one:
        yield one


def test_an_address_goes_to_another_server_and_back(provider: Provider) -> None:
    assert provider.call("floating_ip_info")["holder"] == "s1"
    predicted = provider.call(server="s2", check_mode=True)
    assert predicted["changed"] and provider.fake.orders == [] and predicted["diff"]["after"] == f"{ADDRESS}: on s2\n"
    moved = provider.call(server="s2")
    assert moved["changed"] and moved["held"] and moved["holder"] == "s2"
    assert provider.fake.holders[ADDRESS] == "s2"
    again = provider.call(server="s2")
    assert not again["changed"] and provider.fake.orders == [(ADDRESS, "s2")]
    assert provider.call(server="s1")["changed"] and provider.fake.holders == {**provider.fake.holders, ADDRESS: "s1"}


def test_an_order_that_comes_while_another_is_under_way_waits(provider: Provider) -> None:
    if provider.method == "hetzner":
        provider.fake.until[ADDRESS] = 10**9
        assert "another action is running" in provider.refusal(server="s2")
        provider.fake.until.clear()
    assert provider.call(server="s2")["changed"]


def test_a_provider_that_moves_in_two_steps(provider: Provider) -> None:
    if provider.method == "hetzner":
        provider.fake.steps = True
        assert provider.call(server="s2")["holder"] == "s2"
        assert provider.fake.orders == [(ADDRESS, None), (ADDRESS, "s2")]


def test_an_address_is_taken_from_the_server_that_is_named_and_from_no_other(provider: Provider) -> None:
    assert not provider.call(server="s3", state="absent")["changed"]
    if provider.method in FREE:
        assert provider.call(server="s1", state="absent")["holder"] is None
        assert provider.fake.holders[ADDRESS] is None
        assert not provider.call(server="s1", state="absent")["changed"]
        assert provider.call(server="s3")["holder"] == "s3"
    else:
        assert "always belongs to one" in provider.refusal(server="s1", state="absent")
        assert provider.fake.orders == []


def test_what_fails_at_the_provider_is_said(provider: Provider) -> None:
    assert "there are" in provider.refusal(server="s2", address="203.0.113.99") and OTHER in provider.refusal(server="s2", address="203.0.113.99")
    assert "server is 's9'" in provider.refusal(server="s9")
    assert "server is not set" in provider.refusal(server="")
    assert "token is not set" in provider.refusal(server="s2", token="")
    assert "the credentials are missing" in provider.refusal(server="s2", token="guess")
    assert provider.fake.orders == []
    if provider.method in FREE:
        provider.fake.fails = True
        words = {"hetzner": "the action assign_floating_ip failed: Action failed", "digitalocean": "the action assign_ip ended as errored"}[provider.method]
        assert words in provider.refusal(server="s2") and provider.fake.holders[ADDRESS] == "s1"
    else:
        assert "not in this region" in provider.refusal(server="s3")
        provider.fake.lonely = True
        assert "at least one public IPv4" in provider.refusal(server="s2")


def test_the_role_moves_it_asks_and_moves_it_back(one_provider: Provider, tmp_path: pathlib.Path) -> None:
    """Two hosts that are this machine, whose servers the provider calls otherwise. What answers "at the address" is a port that is open or not."""
    hosts = {host: {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"} for host in ("web1", "web2")}
    inventory = tmp_path / "inventory.json"
    inventory.write_text(json.dumps({"app": {"hosts": hosts}}))
    address = {"address": ADDRESS, "method": one_provider.method, "url": one_provider.running.url + FAKES[one_provider.method][1], "token": "secret"}
    variables = {"cutover_floating_ip": address, "cutover_servers": {"web1": "s1", "web2": "s2"}, "cutover_to": "web2", "cutover_check_deadline": 2}

    def play(port: int, playbook: str = "cutover", **changes: t.Any) -> subprocess.CompletedProcess[str]:
        extra = json.dumps({**variables, "cutover_check": [{"tcp": f"127.0.0.1:{port}", "timeout": 1}], **changes})
        environment = {
            **os.environ, "ANSIBLE_COLLECTIONS_PATH": os.path.join(REPO, "build", "tree"), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_LOCALHOST_WARNING": "false",
            "HOME": str(tmp_path),
        }
        command = ["ansible-playbook", "-i", str(inventory), f"seamless.rollout.{playbook}", "-e", extra]
        return subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, check=False)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        moved = play(port)
        assert moved.returncode == 0 and one_provider.fake.holders[ADDRESS] == "s2", moved.stdout
        assert "secret" not in moved.stdout
        back = play(port, "cutover_back", cutover_to="")
        assert back.returncode == 0 and one_provider.fake.holders[ADDRESS] == "s1", back.stdout
    failed = play(port)
    assert failed.returncode != 0 and "It is at web1 again." in failed.stdout, failed.stdout
    assert one_provider.fake.orders == [(ADDRESS, "s2"), (ADDRESS, "s1")] * 2
