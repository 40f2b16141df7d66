# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ledgers of rollouts as they would have been written, by a clock that needs no waiting: a small one in which much goes wrong, and one of a thousand hosts."""

from __future__ import annotations

import contextlib
import json
import random
import sqlite3
import typing as t
import unittest.mock

from ansible_collections.seamless.rollout.plugins.plugin_utils._canary import Count
from ansible_collections.seamless.rollout.plugins.plugin_utils._ledger import Ledger
from ansible_collections.seamless.rollout.plugins.plugin_utils._tally import added, pause
from ansible_collections.seamless.rollout.plugins.plugin_utils._verdict import Analysis, Look, judge

START = 1_795_000_000.0
HOSTILE = "web5<script>alert('x')</script>"
STEPS = (("drain", 1.0), ("switch", 0.05), ("restart", 1.5), ("health", 1.0), ("enable", 0.8))


class Stream:
    """Writes a rollout of *hosts* into the ledger in *directory*, with the time that it says."""

    def __init__(self, directory: str, hosts: t.Sequence[str], batches: t.Sequence[t.Sequence[str]], **plan: t.Any) -> None:
        self.now, self.random, self.id = START, random.Random(7), "shop-2.0-20261118"
        self.hosts, self.batches = list(hosts), [list(batch) for batch in batches]
        self.totals = {f"{host}|{balancer}": [1000, 0] for host in hosts for balancer in ("lb1", "lb2")}
        self.counted_at, self.looked_at = START, 0.0
        self.new: set[str] = set()
        self.out: set[str] = set()
        self.rows: list[tuple[float, str | None, str, dict[str, t.Any]]] = []
        self.fails = 0.0
        calls = [{"driver": "haproxy", "delegate": balancer} for balancer in ("lb1", "lb2")]
        entry = {"from": "1.0", "target": "2.0", "state": "pending", "detail": "", "balancers": calls, "drained": False, "bake_seconds": 0.0}
        entries = {host: entry for host in hosts}
        order = [host for batch in self.batches for host in batch]
        whole = {
            "release": "2.0", "batches": self.batches, "stages": [order], "order": order, "canary": self.batches[0], "pace": "batch",
            "estimate": {"seconds": 6.0 * len(batches), "host_seconds": 5.5, "rollouts": 3}, "notes": [], "max_unavailable": max(map(len, batches)),
            "max_parallel": None, "max_fail": 0, "on_failure": "rollback", "override": "", "closed": [], "canary_analysis": {}, **plan, "hosts": entries,
        }
        self.plan = whole
        with unittest.mock.patch("time.time", lambda: self.now):
            self.ledger = Ledger(directory)
            rollout = {
                "id": self.id, "app": "shop", "release": "2.0", "mode": "release", "state": "planned", "reason": "the new basket <b>& more</b>",
                "owner": "ann@desk", "controller": "desk", "pid": 1, "process_start": "", "started_at": self.now,
            }
            self.ledger.begin(rollout)
            self.ledger.save_plan(self.id, whole)

    def event(self, event: str, host: str | None = None, when: float | None = None, **detail: t.Any) -> None:
        self.rows.append((self.now if when is None else when, host, event, detail))

    def batch(self, hosts: t.Sequence[str], *, undo: bool = False, fails: t.Mapping[str, str] | None = None, bake: float = 0.0) -> None:
        """Take *hosts* through their steps; each of *fails* does so in the step that it names."""
        fails, begun = fails or {}, self.now
        ends: dict[str, tuple[float, list[dict[str, t.Any]]]] = {}
        for host in hosts:
            self.event("rolling_back" if undo else "in_flight", host)
            steps: list[dict[str, t.Any]] = []
            at = self.now + self.random.uniform(0.1, 0.4)
            for name, usual in (*STEPS, *([("bake", bake)] if bake else [])):
                seconds = round(usual * self.random.uniform(0.7, 1.6), 3) if name != "bake" else bake
                failed = fails.get(host) == name
                steps.append({"step": name, "started_at": round(at, 3), "seconds": seconds * (8 if failed else 1), "ok": not failed})
                at += seconds * (8 if failed else 1) + self.random.uniform(0.05, 0.2)
                if failed:
                    break
            ends[host] = (at, steps)
        self.out |= set(hosts)
        self.until(max(at for at, dummy in ends.values()))
        for host, (at, dummy) in ends.items():
            if host in fails:
                why = f"Switch, restart and check: 2.0 did not become healthy after 10 s: http://127.0.0.1:8000/health answered 500 </td> on {host}"
                self.event("failed", host, at, state="failed", detail=why)
                continue
            (self.new.discard if undo else self.new.add)(host)
            self.out.discard(host)
            self.event("rolled_back" if undo else "done", host, state="rolled_back" if undo else "done", detail="", drained=0, seconds_out=at - begun)
        for host in ends:
            self.event("steps", host, steps=ends[host][1])

    def until(self, moment: float) -> None:
        """Let requests come until then."""
        every = pause(len(self.hosts))
        while self.counted_at + every < moment:
            before = {name: list(pair) for name, pair in self.totals.items()}
            for name, pair in self.totals.items():
                host = name.partition("|")[0]
                if host not in self.out:
                    more = int(every * self.random.uniform(4, 8))
                    pair[0] += more
                    pair[1] += sum(self.random.random() < (self.fails if host in self.new else 0.001) for dummy in range(more)) if len(self.hosts) < 50 else 0
            self.counted_at += every
            self.event("counted", when=self.counted_at, hosts=added(before, self.totals), seconds=every)
        self.now = max(self.now, moment)

    def look(self) -> Look:
        counts = {name: Count(*pair) for name, pair in self.totals.items()}
        return Look(self.now, counts)

    def watch(self, analysis: Analysis, canary: t.Sequence[str]) -> dict[str, t.Any]:
        """Look at the canary until there is a verdict, and return it as the ledger holds it."""
        looks: list[Look] = []
        while True:
            looks.append(self.look())
            self.event("canary_look", **looks[-1].detail())
            verdict = judge(analysis, canary, {}, looks)
            if verdict.verdict:
                told: dict[str, t.Any] = {"verdict": verdict.verdict, "why": verdict.why, "canary": list(canary), "action": "rollback"}
                told["numbers"] = verdict.numbers
                self.event("canary_verdict", **told)
                return told
            self.until(self.now + analysis.interval)

    def end(self, state: str, halted: str, states: t.Mapping[str, dict[str, t.Any]]) -> None:
        """Write everything down; *states* are the columns of hosts where they are not done."""
        self.rows.append((self.now, None, state, {"halted": halted} if halted else {}))
        with contextlib.closing(sqlite3.connect(self.ledger.path, isolation_level=None)) as connection:
            connection.execute("BEGIN")
            connection.executemany(
                "INSERT INTO events (rollout_id, at, host, event, detail) VALUES (?, ?, ?, ?, ?)",
                [(self.id, at, host, event, json.dumps(detail)) for at, host, event, detail in sorted(self.rows, key=lambda row: row[0])],
            )
            for host in self.hosts:
                row = {"state": "done", "detail": "", "drained": 0, "seconds_out": 4.2, **states.get(host, {}), "host": host}
                connection.execute("UPDATE hosts SET state=:state, detail=:detail, drained=:drained, seconds_out=:seconds_out WHERE host=:host", row)
            connection.execute("UPDATE rollouts SET state=?, finished_at=?, halted=?", (state, self.now, halted or None))
            connection.execute("COMMIT")


def small(directory: str) -> Stream:
    """Eight hosts: the canary is blamed by its balancers after two batches were promoted past it, so all that was updated is taken back."""
    hosts = ["web1", "web2", "web3", "web4", HOSTILE, "web6", "web7", "web8"]
    stream = Stream(
        directory, hosts, [["web1", "web2"], ["web3", "web4"], [HOSTILE, "web6"], ["web7", "web8"]],
        notes=["rollout_batch 50% means 4 hosts: held to 2 by rollout_max_unavailable and rollout_max_parallel.", "<img src=x onerror=alert(1)>"],
    )
    stream.fails = 0.04
    stream.until(START + 8)
    stream.event("once_begun", "web1", point="before", actions=["migrate.yml"])
    stream.event("once_done", "web1", point="before", action="migrate.yml", left_out=[])
    stream.batch(["web1", "web2"])
    verdict = stream.watch(Analysis(bake_min=30, bake_max=90, min_requests=100_000, interval=5, alpha=0.0001), ["web1", "web2"])
    stream.event("pause", by="ann@desk", reason="look at the basket")
    stream.until(stream.now + 1800)
    stream.event("resume", by="bob@ci", reason="")
    stream.batch(["web3", "web4"], bake=12.0)
    stream.batch([HOSTILE, "web6"], fails={HOSTILE: "health"})
    why = f"{HOSTILE}: Switch, restart and check: 2.0 did not become healthy"
    stream.event("rolling_back", halted=why)
    for undone in ([HOSTILE, "web6"], ["web4", "web3"], ["web2", "web1"]):
        stream.batch(undone, undo=True)
    back: dict[str, t.Any] = {"state": "rolled_back"}
    left = {host: {"state": "untouched", "seconds_out": None} for host in ("web7", "web8")}
    assert verdict["numbers"]["looks"] > 3
    stream.end("rolled_back", why, {**{host: back for host in hosts[:6]}, **left})
    return stream


def thousand(directory: str, hosts: int = 1000) -> Stream:
    """A thousand hosts in batches of 25, of which three fail, as may, and the last two hundred are never reached."""
    names = [f"web{number:04}.east.example.com" for number in range(hosts)]
    batches = [names[:2], *(names[start:start + 25] for start in range(2, hosts, 25))]
    stream = Stream(directory, names, batches, max_fail=2)
    reached = batches[: int(len(batches) * 0.8)]
    broken = {reached[5][3]: "health", reached[9][0]: "restart", reached[-1][1]: "health"}
    for batch in reached:
        stream.batch(batch, fails={host: step for host, step in broken.items() if host in batch}, bake=3.0)
    why = f"3 failed, 2 may: {', '.join(broken)}"
    stream.event("running", halted=why)
    bad = {host: {"state": "failed", "detail": f"Switch, restart and check: {step} failed", "drained": 1} for host, step in broken.items()}
    done = {host for batch in reached for host in batch}
    stream.end("failed", why, {**{host: {"state": "untouched", "seconds_out": None} for host in names if host not in done}, **bad})
    return stream
