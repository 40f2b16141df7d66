# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The database changes in a rollout, under load: old and new code both run, nothing is lost, and the old shape goes only when no old code is left.

The tests are one story, in this order.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import threading
import time
import typing as t

import pytest
from database.servers import HOST, PASSWORD, POSTGRESQL, Servers
from database.shop import MIGRATION, Shop
from fleet.fleet import Played
from fleet.load import Load

PAUSE = "/run/shop-pause"
# Clients still reach the host, the controller does not.
NO_SSH = b"table inet cut { chain input { type filter hook input priority 0; tcp dport 22 drop; }; }\n"
BAD = {"operations": [{"rename_column": {"table": "users", "from": "nmae", "to": "full_name"}}], "app": "shop", "release": "2.0"}
LATER = '{app: shop, release: "2.0", operations: [{add_column: {table: visits, column: seen, type: integer}}]}'


@pytest.fixture(scope="module")
def shop() -> t.Iterator[Shop]:
    """Three web servers behind a balancer, a database, and release 1.0 on all of them."""
    with Servers([POSTGRESQL], web=3, lb=1) as servers:
        made = Shop(servers)
        made.prepare()
        for release in ("1.0", "2.0"):
            made.build(release)
        first = roll(made, "1.0")
        assert first.code == 0, first.text
        yield made


def roll(shop: Shop, release: str, *options: str, **changes: t.Any) -> Played:
    return shop.rollout(release, *options, **{"batch": [1, 2], "canary": 1, "max_unavailable": 2, **changes})


def said(played: Played) -> str:
    return re.sub(r"\s+", " ", played.text)


@contextlib.contextmanager
def load_on(shop: Shop) -> t.Iterator[Load]:
    """Clients that write and read rows all the time. In the end no request has failed, and every row is there, in every shape that is."""
    load = Load([f"http://{shop.fleet.addresses['lb1']}/write"], rate=30, clients=10, version_key="wrote")
    with load:
        time.sleep(0.5)
        yield load
        time.sleep(0.5)
    summary = load.summary()
    assert summary["failed"] == 0 and summary["requests"] > 100, summary
    keys = [sample.served.split()[1] for sample in load.samples]
    assert len(set(keys)) == len(keys) == summary["requests"]
    assert shop.troubles(keys) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{app: shop, release: "2.0", operations: [{rename_colum: {table: users}}]}', "which is no operation"),
        (json.dumps(BAD), "nmae"),
    ],
)
def test_a_migration_that_cannot_work_stops_before_any_host_is_touched(shop: Shop, text: str, message: str) -> None:
    name = f"2.0-{len(text)}"
    shop.build(name, migrations={"2026_11_25_00_bad.yml": text, "2026_11_25_01_later.yml": LATER})
    played = roll(shop, name)
    assert played.code != 0 and message in said(played), played.text
    assert "Take the host out of rotation" not in played.text
    assert set(shop.releases().values()) == {"1.0"} and shop.all_up()
    with shop.connect() as session:
        assert "seen" not in shop.columns(session, "visits"), "nothing comes after a migration that failed"


def test_old_and_new_code_run_side_by_side_through_crash_rollback_and_another_try(shop: Shop) -> None:
    with load_on(shop):
        shop.fleet.shell(HOST, f"touch {PAUSE}")
        waits = {"auto_promote": False, "batch": [1, 2], "canary": 1, "max_unavailable": 2}
        log = os.path.join(shop.fleet.directory, "killed.log")
        process = shop.fleet.begin("seamless.rollout.rollout", shop.variables("2.0", **waits), log)
        until(lambda: shop.state() == "backfilling", log)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        shop.fleet.shell(HOST, f"rm {PAUSE}")
        assert set(shop.releases().values()) == {"1.0"} and shop.all_up()

        # The same command goes on, as far as the canary.
        process = shop.fleet.begin("seamless.rollout.rollout", shop.variables("2.0", **waits), log)
        until(lambda: "waits for promote" in read(log) or process.poll() is not None, log)
        assert shop.state() == "backfilled" and shop.releases()["web1"] == "2.0", read(log)
        assert roll(shop, "2.0", playbook="control", order="stop").code == 0
        assert process.wait(60) != 0
        assert shop.releases() == {"web1": "2.0", "web2": "1.0", "web3": "1.0"}, read(log)
        back = roll(shop, "", playbook="rollback")
        assert back.code == 0 and set(shop.releases().values()) == {"1.0"}, back.text

        # Forward again, on two of three hosts at first: there is old code left.
        part = roll(shop, "2.0", "--limit", "web1,web2", batch=[2], canary=0)
        assert part.code == 0 and shop.releases() == {"web1": "2.0", "web2": "2.0", "web3": "1.0"}, part.text
        left = roll(shop, "2.0", "--limit", "web1,web2", playbook="contract")
        assert left.code != 0 and f"E1: web3 (left out by --limit) runs release 1.0, which does not carry {MIGRATION}" in said(left), left.text

        # So there is when a host failed.
        fails = os.path.join(shop.fleet.directory, "fails.yml")
        with open(fails, "w", encoding="utf-8") as file:
            file.write("- name: Fail\n  ansible.builtin.command: 'false'\n")
        failed = roll(shop, "2.0", hooks={"before_drain": [fails]}, on_failure="stop")
        assert failed.code != 0 and shop.releases()["web3"] == "1.0", failed.text
        old = roll(shop, "2.0", playbook="contract")
        assert old.code != 0 and f"E1: web3 runs release 1.0, which does not carry {MIGRATION}" in said(old), old.text
        forward = roll(shop, "2.0")
        assert forward.code == 0 and set(shop.releases().values()) == {"2.0"}, forward.text
        assert shop.shapes("people") == [("name",), ("first", "last")]


def test_the_old_shape_stays_as_long_as_evidence_is_missing(shop: Shop) -> None:
    with load_on(shop):
        shop.fleet.shell("web3", "nft -f -", data=NO_SSH)
        try:
            lost = roll(shop, "2.0", playbook="contract")
        finally:
            shop.fleet.shell("web3", "nft delete table inet cut")
        assert lost.code != 0 and "E1: web3 can't be reached" in said(lost), lost.text

        shop.fleet.shell("web3", "systemd-run --unit left-over --working-directory=/srv/shop/releases/1.0 sleep 600")
        worker = roll(shop, "2.0", playbook="contract")
        shop.fleet.shell("web3", "systemctl stop left-over")
        assert worker.code != 0 and re.search(r"E1: web3: process \d+ \(cwd\) still works in release 1\.0", said(worker)), worker.text

        with cron(shop):
            forgotten = roll(shop, "2.0", playbook="contract")
        assert forgotten.code != 0 and "E3: " in said(forgotten) and "nightly-report" in said(forgotten), forgotten.text
    assert shop.state() == "backfilled" and len(shop.shapes("users")) == 2
    assert not any(shop.fleet.shell(host, "cat /srv/shop/.rollout/floor.json", check=False).startswith("{") for host in shop.fleet.web)


def test_the_contract_raises_the_floor_and_is_undone_as_long_as_the_old_shape_is_in_quarantine(shop: Shop) -> None:
    with load_on(shop):
        contracted = roll(shop, "2.0", "-vvv", playbook="contract")
        assert PASSWORD not in contracted.text
        if contracted.code != 0:
            # What the job wrote after the last look is told once.
            assert "E3: something still writes the old shape" in said(contracted), contracted.text
            contracted = roll(shop, "2.0", playbook="contract")
        assert contracted.code == 0 and shop.state() == "quarantined", contracted.text
        assert shop.shapes("users") == [("full_name",)] and shop.shapes("people") == [("first", "last")]
        for host in shop.fleet.web:
            assert json.loads(shop.fleet.shell(host, "cat /srv/shop/.rollout/floor.json"))["migrations"] == [MIGRATION]
        again = roll(shop, "2.0", playbook="contract")
        assert again.code == 0 and set(re.findall(r"changed=(\d+)", again.text)) == {"0"}, again.text

        refused = roll(shop, "", playbook="rollback", to="1.0")
        assert refused.code != 0 and "Take the host out of rotation" not in refused.text
        assert re.search(rf"release 1\.0 is below the release floor \(release 2\.0.*{MIGRATION}", said(refused)), refused.text

        nameless = roll(shop, "2.0", playbook="restore")
        assert nameless.code != 0 and f"In quarantine are: {MIGRATION}." in said(nameless), nameless.text
        restored = roll(shop, "2.0", playbook="restore", restore=MIGRATION)
        assert restored.code == 0 and shop.state() == "backfilled", restored.text
        early = roll(shop, "2.0", playbook="abort_migration", abort=MIGRATION)
        assert early.code != 0 and f"E1: web1 runs release 2.0, which carries {MIGRATION}" in said(early), early.text
        back = roll(shop, "", playbook="rollback", to="1.0")
        assert back.code == 0 and set(shop.releases().values()) == {"1.0"}, back.text
        assert len(shop.shapes("users")) == len(shop.shapes("people")) == 2
        gone = roll(shop, "1.0", playbook="abort_migration", abort=MIGRATION)
        assert gone.code == 0 and shop.state() == "aborted", gone.text
        assert shop.shapes("users") == shop.shapes("people") == [("name",)]


def read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def until(ready: t.Callable[[], bool], log: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, read(log)
        time.sleep(0.1)


@contextlib.contextmanager
def cron(shop: Shop) -> t.Iterator[None]:
    """A job on a machine that nobody thinks of writes the old shape."""
    stop = threading.Event()

    def write() -> None:
        with shop.place.connect("app", name="nightly-report") as session:
            while not stop.wait(0.3):
                session.run("INSERT INTO users (token, revision, name) VALUES ('cron', 0, 'Ada0-cron Lovelace0')")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
