# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floating IPs of providers, against stand-ins that refuse what the real ones refuse."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils import _operations
from ansible_collections.seamless.rollout.plugins.module_utils._balancer import cloud
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from conformance.fakes.floating_ips import ADDRESS, OTHER, DigitalOceanAddresses, HetznerAddresses, LinodeAddresses, Moving, Running, serve

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


@pytest.fixture(params=list(FAKES))
def provider(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[Provider]:
    monkeypatch.setattr(cloud, "PAUSE", 0.05)
    running = serve(FAKES[request.param][0]())
    yield Provider(request.param, running)
    running.server.shutdown()
    running.server.server_close()


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
