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
import yaml
from database.servers import HOST, MARIADB, PASSWORD, POSTGRESQL, Servers
from database.shop import MIGRATION, PROGRAM, Shop
from fleet.fleet import Played
from fleet.load import Load

PAUSE = "/run/shop-pause"
SAME_RUN, BY_HAND = "2026_11_25_02_names", "2026_11_25_03_notes"
# Clients still reach the host, the controller does not.
NO_SSH = b"table inet cut { chain input { type filter hook input priority 0; tcp dport 22 drop; }; }\n"
BAD = {"operations": [{"rename_column": {"table": "users", "from": "nmae", "to": "full_name"}}], "app": "shop", "release": "2.0"}
# Sessions of MariaDB tell their release by this only.
TELLING = {MARIADB: "performance_schema = ON\n"}
LATER = '{app: shop, release: "2.0", operations: [{add_column: {table: visits, column: seen, type: integer}}]}'


@pytest.fixture(scope="module")
def shop() -> t.Iterator[Shop]:
    """Three web servers behind a balancer, a database, and release 1.0 on all of them."""
    with Servers([POSTGRESQL, MARIADB], web=3, lb=1, more=TELLING) as servers:
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
        told = roll(shop, "2.0", playbook="status")
        assert re.search(rf"{MIGRATION}: backfilling, \d+(?: of \d+)? rows, waits: the pause file {PAUSE} is there", said(told)), told.text
        shop.fleet.shell(HOST, f"rm {PAUSE}")
        # What runs on the database host ends by itself, with nobody there.
        until(lambda: shop.state() == "backfilled", log)
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


@pytest.mark.full
def test_the_same_on_mariadb(shop: Shop) -> None:
    on_mariadb = Shop(shop.fleet, MARIADB)
    on_mariadb.create()
    owner = on_mariadb.place.user("owner")
    with on_mariadb.connect() as session:
        session.script(f"GRANT PROCESS ON *.* TO {owner}@'%'", f"GRANT SELECT ON performance_schema.* TO {owner}@'%'")
    restarted(on_mariadb)
    with load_on(on_mariadb):
        first = roll(on_mariadb, "2.0")
        assert first.code == 0 and set(shop.releases().values()) == {"2.0"} and on_mariadb.state() == "backfilled", first.text
        assert "Until the contract new columns are INVISIBLE: new code must name full_name" in said(first), "what somebody should know is shown"
        assert len(on_mariadb.shapes("users")) == len(on_mariadb.shapes("people")) == 2

        with on_mariadb.place.connect("app", name="shop@1.0"), cron(on_mariadb):
            shut = roll(on_mariadb, "2.0", playbook="contract")
        assert shut.code != 0 and re.search(r"E2: session of release 1\.0: shop@1\.0 \(session \d+, user shop_app, from [\d.]+\)", said(shut)), shut.text
        named = r"E3: something still writes the old shape \(.*connected then, and not of a release that carries it: .*nightly-report"
        assert re.search(named, said(shut)), shut.text
        assert on_mariadb.state() == "backfilled"

        contracted = roll(on_mariadb, "2.0", playbook="contract")
        if contracted.code != 0:
            assert "E3: something still writes the old shape" in said(contracted), contracted.text
            contracted = roll(on_mariadb, "2.0", playbook="contract")
        assert contracted.code == 0 and on_mariadb.state() == "quarantined", contracted.text
        assert "could not see well" not in said(contracted), "whoever may see everything sees well"
        assert on_mariadb.shapes("users") == [("full_name",)] and on_mariadb.shapes("people") == [("first", "last")]

        restored = roll(on_mariadb, "2.0", playbook="restore", restore=MIGRATION)
        assert restored.code == 0 and on_mariadb.state() == "backfilled", restored.text
        back = roll(on_mariadb, "", playbook="rollback", to="1.0")
        assert back.code == 0 and set(shop.releases().values()) == {"1.0"}, back.text


@pytest.mark.full
def test_what_goes_in_the_same_run_what_goes_by_hand_and_what_a_command_migrates(shop: Shop) -> None:
    with open(os.path.join(PROGRAM, "migrations", f"{MIGRATION}.yml"), encoding="utf-8") as file:
        names = yaml.safe_load(file)
    rename = {"rename_column": {"table": "notes", "from": "body", "to": "text"}}
    notes = {"app": "shop", "release": "3.0", "operations": [rename], "contract": {"when": "manual"}}
    files = {f"{SAME_RUN}.yml": json.dumps({**names, "release": "3.0", "contract": {"when": "same_run"}}), f"{BY_HAND}.yml": json.dumps(notes)}
    for release in ("3.0", "4.0"):
        shop.build(release, migrations=files)
    restarted(shop)
    with shop.place.connect("owner") as session:
        session.script("CREATE TABLE notes (id int PRIMARY KEY, body text)", "INSERT INTO notes SELECT n, 'note' FROM generate_series(1, 10) n")
        session.run("CREATE TABLE phases (phase text)")
    with load_on(shop):
        three = roll(shop, "3.0")
        assert three.code == 0 and set(shop.releases().values()) == {"3.0"}, three.text
        assert "Old code that runs SELECT * as a prepared statement" in said(three), "what somebody should know is shown"
        assert (shop.state(SAME_RUN), shop.state(BY_HAND)) == ("quarantined", "backfilled"), three.text
        assert shop.shapes("users") == [("full_name",)]

        # The next release has a command migrate as well, before the first host is drained and once.
        by_command = {"database": {"login_host": shop.place.host, "framework": commands(shop)}}
        part = roll(shop, "4.0", "--limit", "web1,web2", batch=[2], canary=0, **by_command)
        assert part.code == 0 and shop.releases() == {"web1": "4.0", "web2": "4.0", "web3": "3.0"}, part.text
        assert phases(shop) == ["expand"] and shop.state(BY_HAND) == "backfilled", "what goes by hand stays"
        assert part.text.index("Run the framework's migrations: expand") < part.text.index("Take the host out of rotation")
        early = roll(shop, "4.0", playbook="contract", **by_command)
        assert early.code != 0 and "E1: web3 runs release 3.0, which does not carry the code of release 4.0" in said(early), early.text
        assert phases(shop) == ["expand"] and shop.state(SAME_RUN) == "quarantined", "its time has not come"
        four = roll(shop, "4.0", **by_command)
        assert four.code == 0 and set(shop.releases().values()) == {"4.0"}, four.text
        assert phases(shop) == ["expand"]

        assert shop.state(BY_HAND) == "quarantined", "the playbook has taken it, which every host knows"
        with shop.connect() as session:
            session.run("UPDATE seamless_rollout.migration SET drop_after = now() - interval '1 second'")
        last = roll(shop, "4.0", playbook="contract", **by_command)
        assert last.code == 0 and (shop.state(SAME_RUN), shop.state(BY_HAND)) == ("contracted", "contracted"), last.text
        assert phases(shop) == ["expand", "contract"]
        with shop.connect() as session:
            assert session.value("SELECT count(*) FROM information_schema.columns WHERE column_name LIKE 'seamless%'") == 0
        again = roll(shop, "4.0", playbook="contract", **by_command)
        assert again.code == 0 and phases(shop) == ["expand", "contract"], again.text


def commands(shop: Shop) -> dict[str, t.Any]:
    """Return how a program of one's own migrates: what it has done is in a table."""
    psql = f"psql -X -q -A -t -h {shop.place.host} -U {shop.place.user('owner')} -d {shop.place.database} -c"
    done = "INSERT INTO phases VALUES ('$SEAMLESS_PHASE')"
    return {
        "framework": "command", "expand_cmd": f'{psql} "{done}"', "contract_cmd": f'{psql} "{done}"', "secret_environment": {"PGPASSWORD": PASSWORD},
        "status_cmd": f"{psql} \"SELECT 'names' WHERE NOT EXISTS (SELECT FROM phases WHERE phase = '$SEAMLESS_PHASE')\"",
    }


def phases(shop: Shop) -> list[str]:
    with shop.connect() as session:
        return [str(row[0]) for row in session.rows("SELECT phase FROM phases")]


def restarted(shop: Shop) -> None:
    """Have the servers use the database of *shop*, in a moment in which nobody uses them."""
    shop.point()
    for host in shop.fleet.web:
        shop.fleet.shell(host, "systemctl restart shop && curl -sf -o /dev/null --retry 40 --retry-connrefused --retry-delay 1 http://127.0.0.1:8000/health")
    time.sleep(1.5)  # until the balancer has seen them down, if it has
    deadline = time.monotonic() + 30
    while not shop.all_up():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def until(ready: t.Callable[[], bool], log: str, seconds: float = 180) -> None:
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
