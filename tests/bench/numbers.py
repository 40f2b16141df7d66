# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measures what the project promises, prints ``name value goal``, and writes build/numbers.json. Nothing is remembered."""

from __future__ import annotations

import argparse
import functools
import json
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import typing as t
import xml.etree.ElementTree

# In the place of this directory: by its name this file would hide the standard library's numbers.
sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from ansible_collections.seamless.rollout.plugins.module_utils._release import links
from ansible_collections.seamless.rollout.plugins.module_utils._release.store import Store
from database import suite as database
from database.servers import ENGINES
from faults import suite
from faults.ground import FLOOR, WEB
from fleet.fleet import REPO, Fleet
from stop_matrix.cores import CORES, available

from bench import balancers, canary, floating, migrations, report_page, scale, status, window
from bench.bench import Bench, Measured
from bench.rows import Row, from_tests

SWITCHES = 20_000
# Some come too late for their moment, so more than the goal asks for. Two cores take an hour and a half for them.
FAULTS = 215


def demo() -> list[Row]:
    """Requests made and failed in the demonstration, and whether it ended as it must."""
    done = subprocess.run([sys.executable, os.path.join(REPO, "tests", "demo", "demo.py")], stdout=subprocess.PIPE, text=True, check=False)
    requests = re.search(r"^  requests +(\d+)", done.stdout, re.MULTILINE)
    failed = re.search(r"^  failed requests +(\d+)", done.stdout, re.MULTILINE)
    made, lost = (int(match[1]) if match else -1 for match in (requests, failed))
    return [Row("demo_failed_requests", f"{lost} of {made}", "0 of >= 50000", lost == 0 and made >= 50_000 and done.returncode == 0)]


def _read(path: str, stop: t.Any, bad: t.Any, reads: t.Any) -> None:
    while not stop.is_set():
        try:
            directory = os.open(path, os.O_RDONLY)
        except OSError:
            bad.value += 1
            continue
        try:
            contents = []
            for name in ("a", "b"):
                handle = os.open(name, os.O_RDONLY, dir_fd=directory)
                contents.append(os.read(handle, 10))
                os.close(handle)
            bad.value += len(set(contents)) != 1
        except OSError:
            bad.value += 1
        finally:
            os.close(directory)
        reads.value += 1


def switches() -> list[Row]:
    """Readers that find the link missing, or two releases behind one opened path, over many switches."""
    with tempfile.TemporaryDirectory() as directory:
        store = Store(os.path.join(directory, "shop"))
        store.create()
        for release in ("1", "2"):
            os.mkdir(store.release_path(release))
            for name in ("a", "b"):
                with open(os.path.join(store.release_path(release), name), "w", encoding="utf-8") as file:
                    file.write(release)
        links.point(store, "current", "1")
        context = multiprocessing.get_context("fork")
        stop, bad, reads = context.Event(), context.Value("L", 0), context.Value("L", 0)
        readers = [context.Process(target=_read, args=(store.link_path("current"), stop, bad, reads)) for dummy in range(2)]
        for reader in readers:
            reader.start()
        for number in range(SWITCHES):
            links.point(store, "current", str(number % 2 + 1))
        stop.set()
        for reader in readers:
            reader.join()
    return [Row("switch_bad_reads", f"{bad.value} of {reads.value} reads, {SWITCHES} switches", "0", bad.value == 0 and reads.value > 10_000)]


@functools.lru_cache(maxsize=1)
def comparison() -> dict[str, Measured]:
    with Fleet(web=6, lb=2) as fleet:
        bench = Bench(fleet)
        bench.prepare()
        return bench.compare()


def executions() -> list[Row]:
    value = comparison()["ours"].executions
    return [Row("module_executions_per_host", value, "<= 10", 0 < value <= 10)]


def wall() -> list[Row]:
    ours, theirs = comparison()["ours"], comparison()["reference"]
    ratio = round(ours.wall / theirs.wall, 2)
    return [Row("wall_ratio_1_percent_changed", f"{ratio} ({ours.wall} s / {theirs.wall} s)", "<= 0.5", ratio <= 0.5)]


def out_of_rotation() -> list[Row]:
    ours, theirs = comparison()["ours"], comparison()["reference"]
    ratio = round(ours.out / theirs.out, 2)
    value = f"{ours.out} s, ratio {ratio} (reference {theirs.out} s)"
    return [Row("seconds_out_of_rotation", value, "<= 3.0 s mean and <= 0.4 x", ours.out <= 3.0 and ratio <= 0.4)]


def unchanged() -> list[Row]:
    ours, theirs = comparison()["ours unchanged"], comparison()["reference unchanged"]
    ratio = round(ours.wall / theirs.wall, 2)
    quiet = "Take the host out of rotation" not in ours.played.text and "Switch, restart" not in ours.played.text
    return [Row("unchanged_wall_ratio", f"{ratio} ({ours.wall} s / {theirs.wall} s)", "<= 0.2, no drain, no restart", ratio <= 0.2 and quiet)]


def received_bytes() -> list[Row]:
    value = comparison()["ours"].received
    return [Row("bytes_per_host_1_percent_changed", f"{value / 1e6:.2f} MB", "<= 0.6 MB", 0 < value <= 600_000)]


@functools.lru_cache(maxsize=1)
def paces() -> dict[str, t.Any]:
    return window.compare()


def window_makespan() -> list[Row]:
    both = paces()
    ratio = round(both["batch"].makespan / both["window"].makespan, 2)
    optimum = round(both["window"].makespan / both["optimum"], 2)
    value = f"{ratio} x ({both['batch'].makespan} s / {both['window'].makespan} s), {optimum} x list scheduling"
    return [Row("window_makespan", value, ">= 1.5, and <= 1.15 x list scheduling", ratio >= 1.5 and optimum <= 1.15)]


def most_out() -> list[Row]:
    most = {pace: paces()[pace].most_out for pace in ("batch", "window")}
    value = ", ".join(f"{pace} {number}" for pace, number in most.items())
    return [Row("most_hosts_out_at_once", value, f"<= {window.AT_ONCE}", max(most.values()) <= window.AT_ONCE)]


@functools.lru_cache(maxsize=1)
def thousand() -> scale.Scale:
    return scale.measure()


def plan_seconds() -> list[Row]:
    return [Row("plan_1000_hosts_seconds", thousand().plan, "< 5", 0 < thousand().plan < 5)]


def window_overhead() -> list[Row]:
    result = thousand()
    ratio = round(result.window / result.bare, 2)
    value = f"{ratio} ({result.window} s / {result.bare} s for {result.tasks:.1f} tasks a host that ran, includes not counted)"
    return [Row("window_overhead_1000_hosts", value, "<= 1.5 x as many bare module calls", ratio <= 1.5)]


def progress_cost() -> list[Row]:
    """Wall time of a rollout of a thousand hosts with the progress callback, in a terminal, to that with the default one."""
    cost = scale.measure_progress()
    pairs = ", ".join(f"{ours:.0f} / {theirs:.0f} s" for theirs, ours in zip(cost.default, cost.progress))
    return [Row("progress_cost", f"{cost.ratio:.3f} ({pairs})", "<= 1.05 x the default callback", cost.ratio <= 1.05)]


def stop_matrix() -> list[Row]:
    """Every case on every ansible-core that is there, in both paces."""
    with tempfile.NamedTemporaryFile(suffix=".xml") as junit:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/stop_matrix", f"--junit-xml={junit.name}"]
        subprocess.run(command, cwd=REPO, stdout=subprocess.DEVNULL, check=False, env={**os.environ, "TESTS": "full"})
        cases = list(xml.etree.ElementTree.parse(junit.name).getroot().iter("testcase"))
    bad = [case for case in cases if len(case)]
    ran = {match[1] for case in cases if (match := re.search(r"\[(\d\.\d+)", str(case.get("name"))))}
    missing = [core for core in CORES if core not in ran]
    value = f"{len(cases) - len(bad)} of {len(cases)} on {', '.join(core for core in CORES if core in ran)}"
    value += f"; {', '.join(missing)} did not run" if missing else ""
    # What no Python of this machine carries can't be asked for.
    return [Row("stop_matrix", value, "all stop, no drain unrecorded, both paces, every core", not bad and bool(ran) and ran >= set(available()))]


def rollouts(name: str, pattern: str, goal: str, least: int) -> list[Row]:
    return from_tests(name, goal, least, (pattern, "tests/integration"))


def faults() -> list[Row]:
    """Break rollouts on purpose and say how many promises were broken by it. The table of what happened goes to stderr."""
    found = suite.run("--quiet", "--limit", str(FAULTS), "--budget-minutes", "240")
    print(found, file=sys.stderr, flush=True)
    (count, kinds, violations), (died, places) = found.totals, found.deaths
    value = f"{count} faults, {kinds} kinds, {violations} violations; SIGKILL at {died} of {places} task starts; at most {found.out} out, budget {WEB - FLOOR}"
    ok = count >= 200 and kinds >= 12 and violations == 0 and found.out <= WEB - FLOOR
    return [Row("fault_suite", value, ">= 200 over >= 12 kinds, 0 violations, never more out than the budget", ok)]


def migration_losses() -> list[Row]:
    """Client errors, and rows that were lost or differ, over every operation, engine and outcome, with clients of both versions."""
    results = database.perform(database.chosen(database.arguments([])), show=lambda text: None)
    sums = database.totals(results)
    errors, rows, wrong = (sum(part[key] for part in sums.values()) for key in ("errors", "rows", "wrong"))
    value = f"{errors} errors, {rows} rows, {len(results)} runs, {sum(part['statements'] for part in sums.values())} statements, {wrong} runs wrong"
    return [Row("migration_losses", value, "0 errors, 0 rows, 0 wrong", not errors and not rows and not wrong and len(results) >= 90)]


def migration_kills() -> list[Row]:
    """What is wrong after the runner was killed at random moments, under load."""
    rows = []
    for engine, least in (("postgresql", 60), ("mariadb", 40)):
        results = database.perform(database.chosen(database.arguments(["--engine", engine])), kills=least, show=lambda text: None)
        part = database.totals(results)[engine]
        value = f"{part['kills']} kills, {part['errors']} errors, {part['rows']} rows, {part['wrong']} of {part['runs']} runs wrong"
        ok = part["kills"] >= least and not part["errors"] and not part["rows"] and not part["wrong"]
        rows.append(Row(f"migration_kills_{engine}", value, f">= {least} kills, 0 errors, 0 rows, nothing left behind", ok))
    return rows


def migration_stalls() -> list[Row]:
    """The longest stall of a client with a reader of five seconds in the way, and whether the DDL came through when it had gone."""
    rows = []
    for engine in ENGINES:
        met = migrations.measure(engine, ["stalls"])["stalls"]
        value = ", ".join(f"{one.phase} {one.stall} ms (before it {one.quiet} ms; done {one.took - one.gone:.1f} s after the reader)" for one in met)
        ok = all(one.stall <= 150 and not one.failed and not one.errors for one in met)
        rows.append(Row(f"migration_stalls_{engine}", value, "<= 150 ms, and the DDL succeeds", ok))
    return rows


def migration_writes() -> list[Row]:
    """Single-row writes of old code through the sync triggers, to writes without."""
    rows = []
    for engine, least in (("postgresql", 0.85), ("mariadb", 0.75)):
        found = migrations.measure(engine, ["triggers"])
        value = ", ".join(f"{kind} {writes.ratio}" + (f" (idle trigger {writes.idle_ratio})" if writes.idle else "") for kind, writes in found.items())
        rows.append(Row(f"migration_writes_{engine}", value, f">= {least} (update with canary)", found["update with canary"].ratio >= least))
    return rows


def migration_backfill() -> list[Row]:
    """A backfill of a million rows: the clients' p99 to that before it, and its time (without clients) to that of one UPDATE."""
    rows = []
    for engine in ENGINES:
        found = migrations.measure(engine, ["backfill"])["backfill"]
        beside = f"beside a session that only computes {found.busy_ratio} x"
        value = f"p99 {found.p99_ratio} x ({found.during} / {found.quiet} ms; {beside}), time {found.time_ratio} x ({found.alone} / {found.one} s)"
        rows.append(Row(f"migration_backfill_{engine}", value, "p99 <= 2 x, time <= 1.3 x", found.p99_ratio <= 2 and found.time_ratio <= 1.3))
    return rows


# The tests of this file are one story, of which no chapter can be left out.
STORY = ("test_", "tests/integration/test_migrations.py")
GATE = ("cron_job or failed_or_were_lost or pooled_connection", "tests/unit/plugins/module_utils/test_migration_gate_database.py")


def contract_refused() -> list[Row]:
    """A contract with a failed host, an unreachable one, --limit, a forgotten cron job and old code's processes, and over a pooled connection."""
    return from_tests("contract_refused", "refused each time, naming what is missing", 8, STORY, GATE)


def rollback_past_contract() -> list[Row]:
    return from_tests("rollback_past_contract", "refused before any host is touched, naming the floor", 5, STORY)


def floating_ip(name: str) -> list[Row]:
    """The longest time without an answer while a floating IP moves there and back, for a client that asks a hundred times a second."""
    found = floating.measure([name])[name]
    value = f"{found.gap:.2f} s in {found.moves} moves, {found.quiet:.2f} s while nothing moved; {found.failed} of {found.requests} requests failed"
    return [Row(f"floating_ip_{name}_gap", value, "<= 1 s", 0 < found.gap <= 1)]


def audit() -> list[Row]:
    """Audits of two good fleets, and of fleets with one fault each."""
    wanted = ("good_site or planted or consent", "tests/integration/test_audit.py")
    return from_tests("audit", "each fault named and no other, nothing on the good ones", 20, wanted)


def status_seconds() -> list[Row]:
    """The whole command, from the shell and back, for twenty servers and a balancer."""
    found = status.measure()
    value = f"{found.warm} (without open connections {found.cold}; Ansible alone {found.start}; {found.own} of a processor on the controller)"
    return [Row("status_seconds", value, "< 3", 0 < found.warm < 3)]


ROWS: dict[str, t.Callable[[], list[Row]]] = {
    "demo_failed_requests": demo,
    "switch_bad_reads": switches,
    "module_executions_per_host": executions,
    "wall_ratio_1_percent_changed": wall,
    "seconds_out_of_rotation": out_of_rotation,
    "unchanged_wall_ratio": unchanged,
    "bytes_per_host_1_percent_changed": received_bytes,
    "second_run_changes_nothing": lambda: rollouts("second_run_changes_nothing", "second_run", "changed=0, no drain", 1),
    "broken_release_undone": lambda: rollouts("broken_release_undone", "broken_release", "canary restored, nobody else touched", 1),
    "unreachable_after_drain": lambda: rollouts("unreachable_after_drain", "lost_after_its_drain", "stops, recorded, repaired by a re-run", 1),
    "last_healthy_member": lambda: rollouts("last_healthy_member", "last_healthy_member", "never drained", 1),
    "fault_suite": faults,
    "bad_inputs_refused": lambda: rollouts("bad_inputs_refused", "bad_input", "each refused before a drain", 19),
    "window_makespan": window_makespan,
    "most_hosts_out_at_once": most_out,
    "plan_1000_hosts_seconds": plan_seconds,
    "window_overhead_1000_hosts": window_overhead,
    "progress_cost": progress_cost,
    "stop_matrix": stop_matrix,
    "migration_losses": migration_losses,
    "migration_kills": migration_kills,
    "migration_stalls": migration_stalls,
    "migration_writes": migration_writes,
    "migration_backfill": migration_backfill,
    "contract_refused": contract_refused,
    "rollback_past_contract": rollback_past_contract,
    "audit": audit,
    "status_seconds": status_seconds,
    "driver_conformance": balancers.driver_conformance,
    "driver_rolls": balancers.driver_rolls,
    "driver_example": balancers.driver_example,
    "canary_false_alarms": canary.false_alarms,
    "canary_fivefold_found": canary.found,
    "canary_outage_not_blamed": canary.outages,
    "canary_regression": canary.regression,
    "haproxy_module_faults": balancers.haproxy_faults,
    "floating_ip_arp_gap": lambda: floating_ip("arp"),
    "floating_ip_keepalived_gap": lambda: floating_ip("keepalived"),
    "blue_green_failed": balancers.blue_green,
    "report_1000_seconds": report_page.seconds,
    "report_1000_mb": report_page.megabytes,
    "report_1000_opens": report_page.opens,
}


def _measures(name: str) -> str:
    """Return what measures the row *name*, which may stand for one engine's row only: migration_writes_mariadb is measured by migration_writes."""
    for key in ROWS:
        if name == key or name.startswith(f"{key}_"):
            return key
    raise argparse.ArgumentTypeError(f"{name!r} is no row. There are: {', '.join(ROWS)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--row", nargs="+", type=_measures, metavar="NAME", default=list(ROWS), help="measure these rows only")
    arguments = parser.parse_args()
    rows: list[Row] = []
    for name, measure in ROWS.items():
        if name in arguments.row:
            for row in measure():
                rows.append(row)
                print(f"{row.name:<34} {row.value!s:<44} {row.goal}{'' if row.ok else '   NOT REACHED'}", flush=True)
    os.makedirs(os.path.join(REPO, "build"), exist_ok=True)
    with open(os.path.join(REPO, "build", "numbers.json"), "w", encoding="utf-8") as file:
        json.dump([row._asdict() for row in rows], file, indent=2)
    sys.exit(0 if all(row.ok for row in rows) else 1)


if __name__ == "__main__":
    main()
