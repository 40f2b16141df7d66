# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every driver must do. A case is a function of a subject; it fails by an exception, and may return a remark for the table."""

from __future__ import annotations

import contextlib
import functools
import threading
import time
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError

from conformance.clients import BUSY, ORDINARY, STICKY, Crowd, WebSocket
from conformance.subject import FRONT, NAMES, Subject

# What a driver without weights can't be asked, for the same reason as the case "weight".
WEIGHTED = ("weight in steps", "traffic split")
Case = t.Callable[[Subject], t.Optional[str]]
CASES: dict[str, Case] = {}


def case(title: str) -> t.Callable[[Case], Case]:
    def keep(function: Case) -> Case:
        CASES[title] = function
        return function

    return keep


def admin(subject: Subject, *names: str) -> list[str]:
    return [subject.standing(name)["admin"] for name in names or NAMES]


def assert_still(subject: Subject, name: str, seconds: float = 0.4) -> None:
    """Nothing is under way in the application *name*, and nothing comes."""
    before = subject.count(name)
    assert before["active"] == 0, f"{name} was called quiet with {before['active']} requests under way"
    time.sleep(seconds)
    assert subject.count(name)["total"] == before["total"], f"{name} was called quiet and still gets requests"


def is_asked(subject: Subject, name: str) -> bool:
    return subject.count(name)["total"] > 0


@case("list")
def lists(subject: Subject) -> None:
    for name in NAMES:
        member = subject.standing(name)
        assert member["admin"] == "ready", member
        assert not member["operator"], member
        assert member["health"] in ("up", "nocheck"), member
        if subject.pools:
            assert (member["address"], member["port"]) == subject.place(name), member


@case("all pools")
def all_pools(subject: Subject) -> None:
    result = subject.drain("s1")
    assert sorted(subject.pool(member["backend"]) for member in result["members"]) == ["api", "app"], result
    assert "s1" not in subject.served() and subject.served("/api") == {"s2"}
    subject.enable("s1")
    subject.wait(lambda: subject.served("/api") == {"s1", "s2"})


@case("roll under load")
def roll(subject: Subject) -> str:
    with Crowd(FRONT, ORDINARY) as crowd:
        time.sleep(0.8)
        for name in NAMES:
            subject.drain(name)
            assert_still(subject, name)
            subject.kill_app(name)
            time.sleep(0.3)
            subject.start_app(name)
            subject.enable(name)
            subject.wait(functools.partial(is_asked, subject, name), 10, f"for a request to {name} after it was enabled")
            time.sleep(0.3)
    unexpected = {error: number for error, number in crowd.errors.items() if error not in subject.costs}
    assert crowd.requests > 500, crowd.results
    assert not unexpected, f"{crowd.requests} requests: {crowd.results}"
    return f"{sum(crowd.errors.values())} of {crowd.requests}"


@case("dead application")
def dead(subject: Subject) -> None:
    subject.drain("s1")
    subject.kill_app("s1")
    refused = subject.refusal(lambda: subject.enable("s1", enable_timeout=1.5))
    assert "s1" in refused or "9101" in refused, refused
    assert admin(subject, "s1") != ["ready"], "it was enabled although its application is dead"
    assert "s1" not in subject.served()
    subject.start_app("s1")
    subject.enable("s1")
    subject.wait(lambda: "s1" in subject.served())


@case("sticky clients")
def sticky(subject: Subject) -> None:
    with Crowd(FRONT, [STICKY]):
        time.sleep(0.5)
        subject.drain("s1", sticky="move")
        assert_still(subject, "s1")
    subject.enable("s1")


@case("WebSocket")
def web_socket(subject: Subject) -> str:
    open_ones = [WebSocket(FRONT) for dummy in range(3)]
    names = [one.say("a").partition(":")[0] for one in open_ones]
    name = names[0]
    began = time.monotonic()
    with contextlib.suppress(SeamlessError):
        subject.drain(name, drain_timeout=1, on_timeout="continue")
    assert time.monotonic() - began < 6
    lives = open_ones[0].say("b") == f"{name}:b"
    for one in open_ones:
        one.close()
    subject.enable(name)
    return "goes on" if lives else "is closed"


@case("weight")
def weight(subject: Subject) -> None:
    before = subject.standing("s1")["weight"]
    assert subject.enable("s1", weight=before * 2)["changed"]
    subject.wait(lambda: subject.standing("s1")["weight"] == before * 2)
    assert not subject.enable("s1", weight=before * 2)["changed"]
    subject.drain("s1")
    subject.enable("s1")
    assert subject.standing("s1")["weight"] == before * 2, "the weight is another one after a drain"


@case("weight in steps")
def weight_in_steps(subject: Subject) -> str:
    """A member that comes back with a tenth of its weight gets that share of requests and no more, and then its weight."""
    for name in NAMES:
        subject.enable(name, weight=20)
    subject.drain("s1")
    failures: list[BaseException] = []

    def climb() -> None:
        try:
            subject.enable("s1", weight_ramp={"steps": [10], "interval": 5})
        except SeamlessError as exc:
            failures.append(exc)

    thread = threading.Thread(target=climb)
    unasked = subject.count("s1")["total"]
    with Crowd(FRONT, [BUSY]) as crowd:
        thread.start()
        subject.wait(lambda: bool(failures) or subject.count("s1")["total"] > unasked, 15, "for a request to s1")
        before = [subject.count(name)["total"] for name in NAMES]
        until = time.monotonic() + 3.5
        while time.monotonic() < until and sum(subject.count(name)["total"] for name in NAMES) < sum(before) + 2000:
            time.sleep(0.1)
        got = [subject.count(name)["total"] - start for name, start in zip(NAMES, before)]
        low = subject.standing("s1")["weight"]
        thread.join()
    assert not failures, failures
    assert low == 2, f"its weight was {low} on its way up"
    # Its share is 2 of 42; what chance adds to it or takes from it is less than five sigma but once in a million times.
    requests, share = sum(got), 2 / 42
    bound = 5 * (requests * share * (1 - share)) ** 0.5
    assert requests > 100 and abs(got[0] - requests * share) <= bound, f"s1 got {got[0]} of {requests}, not {requests * share:.0f}"
    assert set(crowd.errors) <= set(subject.costs), crowd.results
    assert subject.standing("s1")["weight"] == 20, "its weight did not come back"
    return f"{100 * got[0] / requests:.1f} % of the requests at {100 * share:.1f} %"


@case("traffic split")
def traffic_split(subject: Subject) -> str:
    """s1 gets a tenth of the requests, and everything is as before when it is over."""
    before = [subject.standing(name)["weight"] for name in NAMES]
    members = [subject.member(name) for name in NAMES]
    parts = [{"name": "2.0", "share": 10.0, "members": members[:1]}, {"name": "1.0", "share": None, "members": members[1:]}]
    result = subject.call("traffic_split", parts=parts, **subject.app_only())
    assert result["changed"] and [pool["parts"][0]["share"] for pool in result["pools"]] == [10.0], result
    assert not subject.call("traffic_split", parts=parts, **subject.app_only())["changed"]
    start = [subject.count(name)["total"] for name in NAMES]
    with Crowd(FRONT, [BUSY]) as crowd:
        subject.wait(lambda: sum(subject.count(name)["total"] for name in NAMES) >= sum(start) + 2000, 240, "for two thousand requests")
    got = [subject.count(name)["total"] - first for name, first in zip(NAMES, start)]
    requests = sum(got)
    assert set(crowd.errors) <= set(subject.costs), crowd.results
    assert abs(got[0] - requests * 0.1) <= 5 * (requests * 0.1 * 0.9) ** 0.5, f"s1 got {got[0]} of {requests}"
    subject.drain("s3")
    subject.call("traffic_split", state="restored", **subject.app_only())
    subject.enable("s3")
    assert [subject.standing(name)["weight"] for name in NAMES] == before, "the weights are other ones than before"
    return f"{100 * got[0] / requests:.1f} % of the requests at 10 %"


@case("operator's maintenance")
def operator(subject: Subject) -> None:
    subject.take_out_by_hand("s1")
    subject.wait(lambda: subject.standing("s1")["admin"] != "ready")
    assert subject.standing("s1")["operator"]
    for call in (subject.drain, subject.enable):
        refused = subject.refusal(functools.partial(call, "s1"))
        assert "force" in refused, refused
    assert subject.standing("s1")["admin"] != "ready"
    assert "s1" not in subject.served()


@case("reload in between")
def reload(subject: Subject) -> str:
    subject.drain("s1")
    subject.reload()
    kept = subject.standing("s1")["admin"] != "ready"
    assert kept or not subject.keeps_state, "a reload put it back"
    again = subject.drain("s1")
    assert again["drain_lost"] is not kept, again
    assert_still(subject, "s1")
    subject.enable("s1")
    return "kept" if kept else "forgotten, noticed and drained again"


@case("second balancer unreachable")
def second(subject: Subject) -> None:
    refused = subject.refusal(lambda: subject.drain("s1", **subject.dead_second()))
    assert "refuse" in refused or "not there" in refused or "no answer" in refused, refused
    assert admin(subject, "s1") == ["ready"], "it was taken out of one of two balancers"


@case("wrong credentials")
def credentials(subject: Subject) -> None:
    refused = subject.refusal(lambda: subject.drain("s1", **subject.wrong_credentials()))
    assert any(word in refused.lower() for word in ("credentials", "rights", "level admin", "permission", "become", "secret")), refused
    assert admin(subject, "s1") == ["ready"]


@case("mistyped member")
def mistyped(subject: Subject) -> None:
    refused = subject.refusal(lambda: subject.call("lb_member", state="drained", members=[{"name": "s11", "address": "127.0.0.9", "port": None}]))
    assert "s11" in refused and "there are" in refused, refused
    refused = subject.refusal(lambda: subject.drain("s1", backend=["appp"]))
    assert "appp" in refused, refused
    assert admin(subject) == ["ready"] * 3


@case("check mode")
def check_mode(subject: Subject) -> None:
    result = subject.drain("s1", check_mode=True)
    assert result["changed"] and admin(subject, "s1") == ["ready"], result
    assert set(result["diff"]["after"].values()) == {"drain"} and set(result["diff"]["before"].values()) == {"ready"}, result["diff"]
    subject.drain("s1")
    assert subject.enable("s1", check_mode=True)["changed"] and admin(subject, "s1") == ["drain"]
    subject.enable("s1")


@case("idempotence")
def idempotence(subject: Subject) -> None:
    assert [subject.drain("s1")["changed"] for dummy in range(2)] == [True, False]
    assert [subject.enable("s1")["changed"] for dummy in range(2)] == [True, False]
    assert not subject.enable("s2")["changed"], "one that was never out"


@case("floor, two callers")
def floor(subject: Subject) -> None:
    """Two callers, each in a thread, want one member more together than may go."""
    outcomes: list[str] = []

    def one(name: str) -> None:
        try:
            subject.drain(name, min_available="2", backend=subject.params().get("backend") or ["app"])
            outcomes.append("drained")
        except SeamlessError as exc:
            outcomes.append(str(exc))

    threads = [threading.Thread(target=one, args=(name,)) for name in ("s2", "s3")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = [text for text in outcomes if text != "drained"]
    assert len(refused) == 1 and "must stay up" in refused[0], outcomes
    assert sorted(admin(subject)) == ["drain", "ready", "ready"]


@case("exchange under load")
def exchange(subject: Subject) -> str:
    """Blue to green and back: s1 and s2 at once, instead of s3."""
    subject.drain("s3")
    with Crowd(FRONT, ORDINARY) as crowd:
        time.sleep(0.5)
        for coming, leaving in ((["s3"], ["s1", "s2"]), (["s1", "s2"], ["s3"])):
            result = subject.enable(*coming, instead_of=[subject.member(name) for name in leaving], **subject.app_only())
            assert result["changed"], result
            for name in leaving:
                assert_still(subject, name, 0.2)
            assert not subject.enable(*coming, instead_of=[subject.member(name) for name in leaving], **subject.app_only())["changed"]
            time.sleep(0.3)
    unexpected = {error: number for error, number in crowd.errors.items() if error not in subject.costs}
    assert not unexpected, f"{crowd.requests} requests: {crowd.results}"
    subject.kill_app("s3")
    refused = subject.refusal(lambda: subject.enable("s3", instead_of=[subject.member("s1")], enable_timeout=1.5, **subject.app_only()))
    assert admin(subject, "s1") == ["ready"], refused
    return f"{sum(crowd.errors.values())} of {crowd.requests}"
