# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import ipaddress
import json
import pathlib
import socket
import struct
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._addresses import Held, Link, parse_links
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._floating_ip import arp, aws, packets, wire
from ansible_collections.seamless.rollout.plugins.module_utils._floating_ip.checks import (
    Place,
    Wanted,
    choose_link,
    find,
    parse_wanted,
    refuse_add,
    refuse_remove,
)
from hypothesis import given
from hypothesis import strategies as st

OWN, OTHER = bytes.fromhex("525400123456"), bytes.fromhex("5254006789ab")
V4, V6 = ipaddress.ip_address("198.51.100.60"), ipaddress.ip_address("2001:db8::60")
# As ``ip -j address show`` of iproute2 6.1 has it.
LINKS = json.dumps([
    {
        "ifindex": 1, "ifname": "lo", "flags": ["LOOPBACK", "UP", "LOWER_UP"], "address": "00:00:00:00:00:00",
        "addr_info": [{"family": "inet", "local": "127.0.0.1", "prefixlen": 8, "scope": "host", "label": "lo"}],
    },
    {
        "ifindex": 2, "ifname": "eth0", "flags": ["BROADCAST", "MULTICAST", "UP", "LOWER_UP"], "address": "52:54:00:12:34:56", "addr_info": [
            {"family": "inet", "local": "198.51.100.10", "prefixlen": 26, "broadcast": "198.51.100.63", "scope": "global", "label": "eth0"},
            {"family": "inet", "local": "198.51.100.11", "prefixlen": 26, "scope": "global", "secondary": True, "label": "eth0"},
            {"family": "inet6", "local": "2001:db8::10", "prefixlen": 64, "scope": "global", "dynamic": True},
            {"family": "inet6", "local": "fe80::5054:ff:fe12:3456", "prefixlen": 64, "scope": "link"},
        ],
    },
    {"ifname": "eth1", "flags": ["BROADCAST", "UP"], "address": "52:54:00:12:34:57", "addr_info": [{"local": "10.0.0.1", "prefixlen": 31, "scope": "global"}]},
])


def test_an_arp_announcement_is_that_of_rfc_5227() -> None:
    request, reply = packets.announcements(OWN, OWN, V4)
    head = b"\xff" * 6 + OWN + b"\x08\x06" + b"\x00\x01\x08\x00\x06\x04"
    assert request == head + b"\x00\x01" + OWN + V4.packed + b"\x00" * 6 + V4.packed
    assert reply == head + b"\x00\x02" + OWN + V4.packed + OWN + V4.packed


def test_who_tells_of_another_sends_the_frame_itself() -> None:
    for address in (V4, V6):
        for frame in packets.announcements(OWN, OTHER, address):
            assert frame[6:12] == OWN
            assert packets.claimant(frame, address) == OTHER


def test_an_arp_probe_claims_nothing() -> None:
    frame = packets.probe(OWN, V4)
    assert frame[28:32] == b"\x00" * 4 and frame[38:42] == V4.packed and frame[20:22] == b"\x00\x01"
    # Another one that probes wants the address as well.
    assert packets.claimant(packets.probe(OTHER, V4), V4) == OTHER


def test_a_neighbour_advertisement_is_that_of_rfc_4861() -> None:
    (frame,) = packets.announcements(OWN, OWN, V6)
    assert frame[:14] == bytes.fromhex("333300000001") + OWN + b"\x86\xdd"
    assert frame[14:18] == b"\x60\x00\x00\x00" and frame[20] == 58 and frame[21] == 255, "hop limit 255, or it is ignored"
    assert frame[22:38] == V6.packed and frame[38:54] == ipaddress.ip_address("ff02::1").packed
    assert frame[54:56] == b"\x88\x00" and frame[58] == 0x20, "the override flag"
    assert frame[62:] == V6.packed + b"\x02\x01" + OWN
    assert struct.unpack("!H", frame[18:20])[0] == len(frame) - 54
    check_icmp(frame)


def test_a_solicitation_for_a_duplicate_has_no_source() -> None:
    frame = packets.probe(OWN, V6)
    assert frame[:6] == bytes.fromhex("3333ff000060") and frame[22:38] == b"\x00" * 16
    assert frame[38:54] == ipaddress.ip_address("ff02::1:ff00:60").packed and frame[54] == 135 and frame[62:78] == V6.packed
    assert packets.claimant(packets.probe(OTHER, V6), V6) == OTHER
    check_icmp(frame)


def check_icmp(frame: bytes) -> None:
    """The checksum over a message with its own checksum in it is 0."""
    message = frame[54:]
    assert packets.checksum(frame[22:54] + struct.pack("!IHBB", len(message), 0, 0, 58) + message) == 0


@given(st.binary(max_size=120), st.sampled_from([V4, V6]))
def test_whatever_is_on_the_wire_is_read_without_an_error(frame: bytes, address: t.Any) -> None:
    found = packets.claimant(frame, address)
    assert found is None or len(found) == 6


@given(st.binary(min_size=6, max_size=6), st.ip_addresses())
def test_every_address_is_claimed_by_who_announces_it_and_no_other_one(hardware: bytes, address: t.Any) -> None:
    other = type(address)(int(address) ^ 1)
    for frame in packets.announcements(OWN, hardware, address):
        assert packets.claimant(frame, address) == hardware
        assert packets.claimant(frame, other) is None


@pytest.mark.parametrize("text", ["", "52:54:00", "52:54:00:12:34:zz", "52:54:00:12:34:56:78"])
def test_what_is_no_hardware_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="."):
        packets.hardware_bytes(text)
    assert packets.hardware_text(packets.hardware_bytes("52-54-00-12-34-56")) == "52:54:00:12:34:56"


class Wire:
    """A network on which *answers* come after each frame that is sent."""

    def __init__(self, *answers: bytes) -> None:
        self.answers, self.waiting, self.sent = list(answers), list[bytes](), list[bytes]()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *dummy: object) -> None:
        pass

    def send(self, frame: bytes) -> None:
        self.sent.append(frame)
        self.waiting = list(self.answers)

    def settimeout(self, seconds: float) -> None:
        assert seconds > 0

    def recv(self, size: int) -> bytes:
        if not self.waiting:
            raise socket.timeout
        return self.waiting.pop(0)


def links() -> list[Link]:
    return parse_links(LINKS)


def on_wire(monkeypatch: pytest.MonkeyPatch, *answers: bytes) -> Wire:
    made = Wire(*answers)
    monkeypatch.setattr(wire, "opened", lambda link, address: made)
    return made


def test_all_who_answer_are_found_and_the_own_voice_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    third = bytes.fromhex("02000000000f")
    frames = [frame for hardware in (OWN, OTHER, third, OTHER) for frame in packets.announcements(hardware, hardware, V4)]
    made = on_wire(monkeypatch, *frames, b"noise")
    found = wire.holders(links()[1], V4, probes=2, interval=0.01)
    assert found == ["52:54:00:67:89:ab", "02:00:00:00:00:0f"] and made.sent == [packets.probe(OWN, V4)] * 2
    assert wire.holders(links()[1], V4, probes=9, interval=5, sought=found[0]) == found[:1], "nobody waits for more than who is sought"


def test_interfaces_are_read_as_ip_writes_them() -> None:
    lo, eth0, eth1 = links()
    assert (lo.name, eth0.hardware, eth1.flags) == ("lo", "52:54:00:12:34:56", frozenset({"BROADCAST", "UP"}))
    assert [str(held) for held in eth0.addresses] == ["198.51.100.10/26", "198.51.100.11/26", "2001:db8::10/64", "fe80::5054:ff:fe12:3456/64"]
    assert eth0.addresses[1].secondary and eth0.addresses[2].dynamic and not eth0.addresses[0].secondary
    assert find(links(), ipaddress.ip_address("10.0.0.1")) == Place(eth1, eth1.addresses[0]) and find(links(), V4) is None
    assert parse_links('[{}, 5, {"addr_info": [{"local": "x"}, null]}]') == [Link("", "", frozenset(), ())] * 2
    with pytest.raises(SeamlessError, match="an iproute2 that knows -j"):
        parse_links("2: eth0")


@pytest.mark.parametrize(("text", "found"), [
    ("198.51.100.60", Wanted(V4, None)), ("198.51.100.60/26", Wanted(V4, 26)), (" 2001:db8::60/128 ", Wanted(V6, 128)),
])
def test_an_address_is_read_with_and_without_its_prefix(text: str, found: Wanted) -> None:
    assert parse_wanted(text) == found


@pytest.mark.parametrize(("text", "words"), [
    ("shop", "use an address"), ("198.51.100.60/33", "use an address"), ("0.0.0.0", "unspecified"), ("::1", "loopback"), ("ff02::1", "multicast"),
    ("169.254.0.1", "link-local"),
])
def test_what_can_not_move_is_refused(text: str, words: str) -> None:
    with pytest.raises(SeamlessError, match=words):
        parse_wanted(text)


@pytest.mark.parametrize(("text", "interface", "name", "prefix"), [
    ("198.51.100.60", None, "eth0", 32), ("2001:db8::60", None, "eth0", 128), ("198.51.100.60/26", "eth0", "eth0", 26), ("203.0.113.5/32", "eth0", "eth0", 32),
])
def test_an_address_goes_to_the_interface_of_its_network(text: str, interface: str | None, name: str, prefix: int) -> None:
    wanted = parse_wanted(text)
    link = choose_link(links(), wanted, interface)
    assert link.name == name and refuse_add(link, wanted) == prefix


@pytest.mark.parametrize(("text", "interface", "words"), [
    ("203.0.113.5", None, "in no network of eth0, eth1"), ("203.0.113.5", "eth0", r"203\.0\.113\.5/32"), ("198.51.100.60", "eth7", "there are eth0, eth1"),
    ("198.51.100.63", "eth0", "all of its machines"), ("198.51.100.0", "eth0", "the network"), ("198.51.100.60", "lo", "no neighbour"),
    ("10.0.0.0/32", "eth1", "which is down"),
])
def test_an_address_does_not_go_where_nobody_would_find_it(text: str, interface: str | None, words: str) -> None:
    wanted = parse_wanted(text)
    with pytest.raises(SeamlessError, match=words):
        refuse_add(choose_link(links(), wanted, interface), wanted)


def place(*texts: str, **held: t.Any) -> Place:
    """Return the first of *texts* on an interface that has all of them."""
    found = [
        Held(ipaddress.ip_address(text.partition("/")[0]), int(text.partition("/")[2]), "global", secondary=False, dynamic=False) for text in texts
    ]
    found[0] = found[0]._replace(**held)
    return Place(Link("eth0", "", frozenset(), tuple(found)), found[0])


@pytest.mark.parametrize(("where", "options", "words"), [
    (place("198.51.100.60/32", "198.51.100.10/26"), {"connection": "198.51.100.60"}, "by which Ansible reaches"),
    (place("198.51.100.60/32"), {"ours": True}, "only address"),
    (place("198.51.100.60/32", "2001:db8::1/64"), {"ours": True}, "only address"),
    (place("198.51.100.60/26", "10.0.0.1/8", dynamic=True), {}, "a lease"),
    (place("198.51.100.60/26", "10.0.0.1/8"), {}, "primary address"),
    (place("198.51.100.60/26", "198.51.100.61/26"), {"ours": True}, r"remove 198\.51\.100\.61/26 with it"),
    (place("198.51.100.60/26", "198.51.100.61/26"), {"ours": True, "promotes": True}, ""),
    (place("198.51.100.60/26", "198.51.100.10/26", secondary=True), {}, ""),
    (place("198.51.100.60/32", "198.51.100.10/26"), {}, ""),
    (place("2001:db8::60/64", "2001:db8::1/64"), {}, ""),
])
def test_no_more_is_removed_than_the_address(where: Place, options: dict[str, t.Any], words: str) -> None:
    arguments = {"ours": False, "promotes": False, "connection": "", **options}
    if not words:
        refuse_remove(where, **arguments)
        return
    with pytest.raises(SeamlessError, match=words):
        refuse_remove(where, **arguments)


class Machine:
    """The addresses of eth0, as ``ip`` changes them."""

    def __init__(self) -> None:
        self.state = json.loads(LINKS)
        self.told: list[str] = []

    def run(self, command: str, *dummy: t.Any, **more: t.Any) -> str:
        words = command.split()
        held = self.state[1]["addr_info"]
        if words[2:4] == ["address", "show"]:
            return json.dumps(self.state)
        address, dummy_slash, prefix = words[3].partition("/")
        if words[2] == "add":
            held.append({"local": address, "prefixlen": int(prefix), "scope": "global"})
        else:
            held[:] = [one for one in held if one["local"] != address]
        return ""

    def announce(self, link: Link, address: t.Any, hardware: str, **dummy: t.Any) -> None:
        self.told.append(hardware)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, perform: t.Any) -> t.Any:
    made = Machine()
    monkeypatch.setattr(arp, "run_command", made.run)
    monkeypatch.setattr(wire, "announce", made.announce)
    monkeypatch.setattr(wire, "holders", lambda *dummy, **more: [])
    monkeypatch.setattr(arp.os, "geteuid", lambda: 0)
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    made.call = lambda **options: perform("floating_ip", **{"address": str(V4), "state_dir": str(tmp_path), **options})  # type: ignore[attr-defined]
    return made


def test_an_address_comes_is_announced_and_goes(machine: t.Any, tmp_path: pathlib.Path) -> None:
    assert machine.call(check_mode=True)["changed"] and not list(tmp_path.iterdir())
    result = machine.call(owner="shop", instead_of="web1")
    assert result["changed"] and result["announced"] == 3 and result["record"]["instead_of"] == "web1"
    again = machine.call(owner="shop")
    assert not again["changed"] and again["announced"] == 0 and machine.call(announce=True)["announced"] == 3
    assert machine.told == ["52:54:00:12:34:56"] * 2
    with pytest.raises(SeamlessError, match="was brought here by shop"):
        machine.call(state="absent")
    assert machine.call(owner="shop", state="absent")["changed"] and not machine.call(state="absent")["changed"]


def test_what_came_with_a_start_is_not_ours(machine: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.call()
    monkeypatch.setattr(arp, "_boot", lambda: "another")
    with pytest.raises(SeamlessError, match="was not added by this module"):
        machine.call(state="absent")
    assert machine.call(state="absent", force=True)["changed"]


def test_a_record_of_an_address_that_a_start_took_is_dropped(machine: t.Any, tmp_path: pathlib.Path) -> None:
    machine.call()
    machine.state = json.loads(LINKS)
    assert not machine.call(state="absent")["changed"]
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_an_address_in_use_is_taken_from_who_gives_it_away_only(machine: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "holders", lambda *dummy, **more: ["52:54:00:67:89:ab"])
    with pytest.raises(SeamlessError, match="52:54:00:67:89:ab on eth0 says it has it") as caught:
        machine.call(replaces=["52:54:00:67:89:ac"])
    assert caught.value.details["answers"] == ["52:54:00:67:89:ab"]
    assert machine.call(replaces=["52:54:00:67:89:AB"])["answers"] == ["52:54:00:67:89:ab"]
    machine.call(state="absent")
    assert machine.call(takeover=True)["changed"]


def test_an_address_goes_when_its_successor_answers_and_neighbours_are_told(machine: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.call()
    with pytest.raises(SeamlessError, match="it stays here"):
        machine.call(state="absent", goes_to="52:54:00:67:89:ab")
    with pytest.raises(SeamlessError, match="use a hardware address"):
        machine.call(state="absent", goes_to="web2")
    monkeypatch.setattr(wire, "holders", lambda *dummy, **more: ["52:54:00:67:89:ab"])
    machine.told.clear()
    assert machine.call(state="absent", goes_to="52-54-00-67-89-AB")["changed"]
    assert machine.told == ["52:54:00:67:89:ab"]


def test_only_root_changes_an_address(machine: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arp.os, "geteuid", lambda: 1000)
    with pytest.raises(SeamlessError, match="become: true"):
        machine.call()
    assert not machine.call(state="absent")["changed"], "there is nothing to do"


class Ec2:
    """Two instances and an address, in two pages."""

    def __init__(self) -> None:
        self.holder: str | None = "i-1"
        self.orders: list[str] = []

    def describe_addresses(self) -> t.Any:
        more = {"InstanceId": self.holder, "AssociationId": f"eipassoc-{self.holder}"} if self.holder else {}
        return {"Addresses": [{"PublicIp": str(V4), "AllocationId": "eipalloc-1", **more}]}

    def describe_instances(self, NextToken: str = "") -> t.Any:
        number = "2" if NextToken else "1"
        instance = {"InstanceId": f"i-{number}", "State": {"Name": "running"}, "Tags": [{"Key": "Name", "Value": f"web{number}"}]}
        gone = {"InstanceId": "i-9", "State": {"Name": "terminated"}, "Tags": [{"Key": "Name", "Value": "web2"}]}
        return {"Reservations": [{"Instances": [instance, gone]}], **({} if NextToken else {"NextToken": "more"})}

    def associate_address(self, *, AllocationId: str, InstanceId: str, AllowReassociation: bool) -> t.Any:
        assert AllocationId == "eipalloc-1" and AllowReassociation
        self.holder = InstanceId
        self.orders.append(InstanceId)
        return {"AssociationId": "eipassoc-new"}

    def disassociate_address(self, *, AssociationId: str) -> t.Any:
        if AssociationId != f"eipassoc-{self.holder}":
            raise RuntimeError("InvalidAssociationID.NotFound")
        self.holder = None
        return {}


def test_an_elastic_ip_moves_in_one_order(monkeypatch: pytest.MonkeyPatch, perform: t.Any) -> None:
    ec2 = Ec2()
    monkeypatch.setattr(aws, "client_of", lambda *dummy: ec2)
    options = {"address": str(V4), "method": "aws", "region": "eu-central-1"}
    assert perform("floating_ip_info", **options)["holder"] == "web1"
    assert perform("floating_ip", server="web2", **options)["holder"] == "web2" and ec2.orders == ["i-2"]
    assert not perform("floating_ip", server="i-2", **options)["changed"]
    assert perform("floating_ip", server="web2", state="absent", **options)["holder"] is None
    for changes, words in (({"server": "web9"}, "server is 'web9'"), ({"region": ""}, "region is not set"), ({"address": "198.51.100.9"}, "there are")):
        with pytest.raises(SeamlessError, match=words):
            perform("floating_ip", **{"server": "web1", **options, **changes})
