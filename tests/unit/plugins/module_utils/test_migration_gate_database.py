# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The gate against a PostgreSQL of its own, where its programs are on this machine: real triggers, real sessions, a real cron job that was forgotten."""

from __future__ import annotations

import json
import shutil
import socket
import struct
import tempfile
import threading
import time
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._migration import advisory, gate_operation, migrate
from ansible_collections.seamless.rollout.plugins.module_utils._migration.connection import opened
from own_postgresql import Server, host, needed, run, started

pytestmark = needed

NAME = "2026_11_22_01_user_name"
SPEC = {
    "app": "shop",
    "release": "42",
    "operations": [{"rename_column": {"table": "users", "from": "name", "to": "full_name"}}],
    "contract": {"quiet_period": 1.0},
}


@pytest.fixture(scope="module")
def server() -> t.Iterator[Server]:
    with started() as made:
        yield made


@pytest.fixture
def db(server: Server, perform: t.Any) -> t.Iterator[Server]:
    """An application's database with a migration that is ready to be contracted."""
    server.renew()
    with server.connect("test") as session:
        session.execute("CREATE TABLE users (id int PRIMARY KEY, name text NOT NULL)")
        session.execute("INSERT INTO users SELECT n, 'name ' || n FROM generate_series(1, 50) n")
    run(migrate, server, name=NAME, spec=SPEC, state="backfilled", verify_window=0.05)
    yield server


def ask(server: Server, *hosts: dict[str, t.Any], **params: t.Any) -> dict[str, t.Any]:
    return run(gate_operation, server, **{"app": "shop", "name": NAME, "hosts": list(hosts) or [host()], "wait": 3.0, **params})


def evidence(answer: t.Mapping[str, t.Any], name: str) -> dict[str, t.Any]:
    return next(item for item in answer["evidence"] if item["id"] == name)


def test_a_quiet_database_opens_the_gate_and_the_contract_takes_its_record(db: Server) -> None:
    new = db.connect("shop@42")
    new.execute("UPDATE users SET full_name = 'new code' WHERE id = 1")
    first = ask(db, wait=0.0)
    assert (first["passed"], first["gate"]) == (False, None)
    assert 0 < first["pending"] <= 1.0
    assert first["missing"][0].startswith("E3: not yet: the old shape was not written for 0 of 1 seconds")
    new.execute("UPDATE users SET full_name = 'new code again' WHERE id = 2")
    time.sleep(1.05)
    answer = ask(db, wait=0.0)
    assert answer["passed"], answer["msg"]
    assert answer["missing"] == []
    assert evidence(answer, "E2")["what"] == "1 of 1 sessions say their release, and each carries the migration"
    with pytest.raises(SeamlessError, match=f"gate: {first['record']} did not pass"):
        run(migrate, db, app="shop", name=NAME, state="quarantined", gate=first["record"])
    done = run(migrate, db, app="shop", name=NAME, state="quarantined", gate=answer["gate"])
    assert (done["state"], done["floor"]) == ("quarantined", "42")
    again = ask(db, wait=0.0)
    assert again["passed"], "the drop wants a gate too, and nothing is counted any more"
    assert evidence(again, "E3")["weak"] == "the migration is quarantined, and nothing is counted any more"
    new.close()


def test_waiting_is_over_when_the_quiet_period_is(db: Server) -> None:
    began = time.monotonic()
    answer = ask(db)
    assert answer["passed"], answer["msg"]
    assert 0.9 <= time.monotonic() - began < 2.5


def test_a_backfill_of_old_rows_and_new_codes_writes_do_not_count(db: Server) -> None:
    ask(db, wait=0.0)
    with db.connect("shop@42") as new:
        new.execute("INSERT INTO users (id, full_name) VALUES (60, 'new')")
        new.execute("UPDATE users SET full_name = full_name || '!'")
    assert ask(db)["passed"]


def test_a_forgotten_cron_job_shuts_the_gate_and_is_named(db: Server) -> None:
    cron = db.connect("nightly-report")
    cron.execute("UPDATE users SET name = 'old code' WHERE id = 3")
    ask(db, wait=0.0)
    cron.execute("UPDATE users SET name = 'old code again' WHERE id = 3")
    answer = ask(db)
    assert (answer["passed"], answer["pending"]) == (False, None)
    missing = evidence(answer, "E3")["missing"][0]
    assert "something still writes the old shape (at least once in the last " in missing
    assert "connected then, and not of a release that carries it: nightly-report (session " in missing
    assert "user postgres, from local socket" in missing
    with pytest.raises(SeamlessError, match="did not pass"):
        run(migrate, db, app="shop", name=NAME, state="quarantined", gate=answer["record"])
    cron.close()
    assert ask(db)["passed"], "when it has gone, a quiet period is all that is missing"


def test_an_insert_that_gives_the_old_column_counts_also_where_its_default_is_a_label(db: Server) -> None:
    with db.connect("test") as session:
        session.execute("CREATE TYPE mood AS ENUM ('so so', 'fine')")
        session.execute("CREATE TABLE days (id int PRIMARY KEY, mood mood NOT NULL DEFAULT 'so so', token uuid DEFAULT gen_random_uuid())")
        session.execute("CREATE SCHEMA elsewhere")
    renamed = {"operations": [{"rename_column": {"table": "days", "from": "mood", "to": "feeling"}}], "contract": {"quiet_period": 1.0}}
    run(migrate, db, name="days", spec={**renamed, "app": "diary", "release": "42"}, state="backfilled", verify_window=0.05)
    with db.connect("shop@42") as code:
        ask(db, app="diary", name="days", wait=0.0)
        code.execute("INSERT INTO days (id) VALUES (1)")
        assert ask(db, app="diary", name="days")["passed"], "new code may leave it to the default"
        code.execute("SET search_path = elsewhere")
        code.execute("INSERT INTO public.days (id, mood) VALUES (2, 'fine')")
        assert "still writes the old shape" in evidence(ask(db, app="diary", name="days", wait=0.0), "E3")["missing"][0]
        assert code.execute("SELECT count(*) FROM public.days WHERE mood = feeling").fetchone() == (2,)


def test_the_gate_says_that_it_can_not_count_where_the_default_is_no_constant(db: Server) -> None:
    with db.connect("test") as session:
        session.execute("CREATE TABLE days (id int PRIMARY KEY, token uuid DEFAULT gen_random_uuid())")
    renamed = {"operations": [{"rename_column": {"table": "days", "from": "token", "to": "secret"}}], "contract": {"quiet_period": 1.0}}
    done = run(migrate, db, name="days", spec={**renamed, "app": "diary", "release": "42"}, state="backfilled", verify_window=0.05)
    words = "an INSERT of old code that gives no old column but token is not counted"
    assert words in json.dumps(done)
    with db.connect("cron") as code:
        code.execute("INSERT INTO days (id, token) VALUES (1, gen_random_uuid())")
    answer = ask(db, app="diary", name="days")
    assert answer["passed"] and words in evidence(answer, "E3")["weak"] and words in " ".join(answer["weak"])
    with db.connect("cron") as code:
        code.execute("UPDATE days SET token = gen_random_uuid()")
    assert not ask(db, app="diary", name="days")["passed"]


def test_a_job_that_writes_while_the_gate_waits_is_caught_in_the_act(db: Server) -> None:
    def job() -> None:
        time.sleep(0.4)
        with db.connect("cron@web9") as session:
            session.execute("UPDATE users SET name = 'x' WHERE id = 3")
            time.sleep(0.6)

    thread = threading.Thread(target=job)
    thread.start()
    answer = ask(db, quiet_period=5.0, wait=6.0)
    thread.join()
    assert "cron@web9" in evidence(answer, "E3")["missing"][0]


def test_old_code_that_only_reads_is_seen_by_its_session(db: Server) -> None:
    with db.connect("shop@41") as old:
        answer = ask(db)
        assert evidence(answer, "E2")["missing"] == [f"session of release 41: shop@41 (session {old.info.backend_pid}, user postgres, from local socket)"]
        assert answer["pending"] is None
        kept = ask(db, poolers=["local socket"])
        assert kept["passed"], "an idle connection of a pooler"
        assert "may have left" in " ".join(kept["weak"])


def test_hosts_that_failed_or_were_lost_or_left_out_shut_the_gate_without_any_wait(db: Server) -> None:
    for flaw, words in (
        ({"release": "41"}, "web3 runs release 41"),
        ({"state": "failed"}, "marked failed"),
        ({"answered": False, "unreachable": True, "msg": "timed out"}, "web3 can't be reached"),
        ({"release": "41", "left_out": True}, "web3 (left out by --limit) runs release 41"),
    ):
        began = time.monotonic()
        answer = ask(db, host("web1"), host("web3", **flaw), wait=30.0)
        assert (answer["passed"], answer["gate"], time.monotonic() - began < 2) == (False, None, True)
        assert words in answer["missing"][0]
        with pytest.raises(SeamlessError, match="did not pass"):
            run(migrate, db, app="shop", name=NAME, state="quarantined", gate=answer["record"])


def test_rows_that_differ_shut_the_gate(db: Server) -> None:
    with db.connect("test") as session:
        session.execute("SET session_replication_role = replica")
        session.execute("UPDATE users SET name = 'behind our back' WHERE id IN (1, 2)")
    answer = ask(db)
    assert "2 rows" in evidence(answer, "E4")["missing"][0]


def test_a_migration_that_runs_shuts_the_gate_and_its_holder_is_named(db: Server) -> None:
    params = {name: option.get("default") for name, option in gate_operation.ARGUMENT_SPEC.items()}
    with opened({**params, **db.params()}) as other, advisory.migration_lock(other, "shop"):
        answer = ask(db, lock_deadline=0.2, quiet_period=0.0)
    assert "Another migration of shop is running" in evidence(answer, "E5")["missing"][0]
    assert answer["record"] is None


def test_check_mode_looks_and_writes_nothing(db: Server) -> None:
    def records() -> int:
        with db.connect("test") as session:
            return int(session.execute("SELECT count(*) FROM seamless_rollout.gate").fetchone()[0])

    before = records()
    answer = run(gate_operation, db, True, app="shop", name=NAME, hosts=[host()], quiet_period=0.0)
    assert (answer["passed"], answer["gate"], records()) == (True, None, before)


def test_a_provisional_verdict_is_no_permission_and_a_host_without_the_floor_shuts_the_gate(db: Server) -> None:
    first = ask(db, provisional=True)
    assert (first["passed"], first["gate"]) == (True, None)
    refused = ask(db, floor_failed={"web2": "disk full"})
    assert refused["missing"] == ["floor: web2 did not take the release floor: disk full"]
    final = ask(db, floor_failed={}, wait=0.0)
    assert (final["passed"], final["gate"] is not None) == (True, True)


def test_what_was_quiet_in_the_quarantine_counts_for_nothing_after_a_restore(db: Server) -> None:
    answer = ask(db)
    run(migrate, db, app="shop", name=NAME, state="quarantined", gate=answer["gate"])
    run(migrate, db, app="shop", name=NAME, state="restored", verify_window=0.05)
    after = ask(db, wait=0.0)
    assert 0.5 < after["pending"] <= 1.0
    with db.connect("psql") as old:
        old.execute("UPDATE users SET name = 'old code is back' WHERE id = 3")
    assert evidence(ask(db), "E3")["missing"]


def test_a_restore_reaches_the_rows_of_the_quarantine_where_the_renamed_column_is_the_key(db: Server) -> None:
    with db.connect("test") as session:
        session.execute("CREATE TABLE codes (code text NOT NULL UNIQUE, note text)")
        session.execute("INSERT INTO codes VALUES ('a', 'old'), ('b', 'old')")
    renamed = {"operations": [{"rename_column": {"table": "codes", "from": "code", "to": "short"}}], "contract": {"quiet_period": 0.1}}
    run(migrate, db, name="codes", spec={**renamed, "app": "diary", "release": "42"}, state="backfilled", verify_window=0.05)
    run(migrate, db, app="diary", name="codes", state="quarantined", gate=ask(db, app="diary", name="codes")["gate"])
    with db.connect("shop@42") as code:
        code.execute("INSERT INTO codes (short, note) VALUES ('c', 'new'), ('d', 'new')")
        code.execute("UPDATE codes SET short = 'bb' WHERE short = 'b'")
        run(migrate, db, app="diary", name="codes", state="restored", verify_window=0.05)
        assert code.execute("SELECT code, short FROM codes ORDER BY short").fetchall() == [(word, word) for word in ("a", "bb", "c", "d")]


def test_a_migration_that_is_unknown_or_aborted_is_told(db: Server) -> None:
    with pytest.raises(SeamlessError, match=f"name is nothing, .*It knows: {NAME}"):
        ask(db, name="nothing")
    run(migrate, db, app="shop", name=NAME, spec=SPEC, state="aborted", force_abort_reason="nobody uses it")
    with pytest.raises(SeamlessError, match="was aborted"):
        ask(db)


def test_an_abort_needs_evidence_that_new_code_is_gone(db: Server) -> None:
    with pytest.raises(SeamlessError, match="purpose: abort"):
        run(migrate, db, app="shop", name=NAME, state="aborted")
    with pytest.raises(SeamlessError, match="looked with purpose: contract"):
        run(migrate, db, app="shop", name=NAME, state="aborted", gate=ask(db)["gate"])
    back = {"release": "41"}
    held = ask(db, host(), host("web2", answered=False, unreachable=True, msg="no route"), purpose="abort")
    assert (held["passed"], held["gate"]) == (False, None)
    assert f"E1: web1 runs release 42, which carries {NAME}" in held["msg"] and "E1: web2 can't be reached" in held["msg"]
    worker = ask(db, host(processes={"42": ["process 7 (cwd)"]}, **back), purpose="abort")
    assert "process 7 (cwd) still works in release 42" in worker["msg"]
    with db.connect("shop@42"):
        assert "E2: session of release 42" in ask(db, host(**back), purpose="abort")["msg"]
    with db.connect("shop@41"):
        passed = ask(db, host(**back), purpose="abort")
    assert passed["passed"], passed["msg"]
    with pytest.raises(SeamlessError, match="looked with purpose: abort"):
        run(migrate, db, app="shop", name=NAME, state="quarantined", gate=passed["gate"])
    assert run(migrate, db, app="shop", name=NAME, state="aborted", gate=passed["gate"])["state"] == "aborted"
    with pytest.raises(SeamlessError, match="goes with name and without raise_floor"):
        ask(db, purpose="abort", raise_floor=True)


def test_where_a_framework_migrates_every_host_must_run_one_release(db: Server) -> None:
    mine = host(carriers=["42"])
    answer = ask(db, mine, name="", release="42", wait=0.0)
    assert (answer["passed"], answer["gate"], answer["record"]) == (True, None, None), answer["msg"]
    assert "E3: nothing counts writes where a framework migrates" in answer["weak"]
    shut = ask(db, mine, host("web2", release="41", carriers=[]), name="", release="42", wait=0.0)
    assert shut["missing"] == ["E1: web2 runs release 41, which does not carry the code of release 42"]
    with db.connect("shop@41"):
        assert ask(db, mine, name="", release="42")["missing"][0].startswith("E2: session of release 41")
    pinned = [{"release": "41", "reason": "audit"}]
    assert ask(db, mine, name="", release="42", pinned=pinned)["missing"][0].startswith("E6: release 41 is pinned (audit)")
    for wrong in ({"name": "", "release": ""}, {"release": "42"}):
        with pytest.raises(SeamlessError, match="One of name and release must be set"):
            ask(db, **wrong)


def test_a_user_without_rights_sees_the_names_and_says_what_it_could_not_see(db: Server) -> None:
    with db.connect("test") as admin:
        admin.execute("DROP ROLE IF EXISTS plain")
        admin.execute("CREATE ROLE plain LOGIN")
        for grant in ("USAGE ON SCHEMA", "ALL ON ALL TABLES IN SCHEMA", "ALL ON ALL SEQUENCES IN SCHEMA"):
            admin.execute(f"GRANT {grant} seamless_rollout, public TO plain")
        with db.connect("shop@41"):
            answer = ask(db, login_user="plain", quiet_period=0.0)
    assert "session of release 41: shop@41" in evidence(answer, "E2")["missing"][0]
    with db.connect("shop@42"):
        seen = ask(db, login_user="plain", quiet_period=0.0)
    assert "pg_read_all_stats" in evidence(seen, "E2")["weak"], seen["msg"]


def _pool(listener: socket.socket, target: str) -> None:
    """Pass one connection on as a pooler does: the process id that it tells at login is its own."""
    client, dummy = listener.accept()
    server = socket.socket(socket.AF_UNIX)
    server.connect(target)

    def forward() -> None:
        while True:
            data = client.recv(65536)
            if not data:
                break
            server.sendall(data)
        server.close()

    threading.Thread(target=forward, daemon=True).start()
    told = False
    while True:
        try:
            data = server.recv(65536)
        except OSError:
            return
        if not data:
            return
        at = data.find(b"K" + struct.pack("!i", 12))
        if at >= 0 and not told:
            data = data[: at + 5] + struct.pack("!i", 123456789) + data[at + 9:]
            told = True
        client.sendall(data)


def test_a_pooled_connection_is_refused_by_name(db: Server, tmp_path: t.Any) -> None:
    listener = socket.socket(socket.AF_UNIX)
    directory = tempfile.mkdtemp(prefix="seamless-pool-", dir="/tmp")
    listener.bind(f"{directory}/.s.PGSQL.5432")
    listener.listen(1)
    thread = threading.Thread(target=_pool, args=(listener, f"{db.directory}/.s.PGSQL.5432"), daemon=True)
    thread.start()
    try:
        answer = ask(db, login_unix_socket=directory)
    finally:
        listener.close()
        shutil.rmtree(directory)
    assert (answer["passed"], answer["gate"], answer["record"]) == (False, None, None)
    assert f"at {directory}" in answer["missing"][0]
    assert "reached through a pooler or proxy" in answer["missing"][0]
    assert "login_host and login_port" in answer["msg"]
