# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The demonstration: a published application goes from one released version to the next on six servers behind two balancers,
under load; then a broken release is stopped at the canary and rolled back by itself. No request may fail.

In the second act (``--database`` for it alone) a release renames and splits columns of a database that clients write to all the time, is rolled
back, rolled out again, and at last the old columns go. No request may fail and no row may be lost."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import textwrap
import time
import typing as t

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from database.servers import POSTGRESQL, Servers
from database.shop import Shop
from fleet.fleet import REPO, Fleet, Played
from fleet.load import Load
from fleet.watch import Watch

OLD, NEW = "0.64.8", "0.65.1"
BROKEN = "0.65.5"
HERE = os.path.join(REPO, "tests", "demo")
BUILDS = os.path.join(REPO, "build", "demo")
REQUESTS = 50_500

# The broken release: its plugin answers every request with an error, though the process runs and listens.
DEFECT = """\
from datasette import hookimpl


@hookimpl
def asgi_wrapper(datasette):
    def wrap(app):
        async def answer(scope, receive, send):
            if scope["type"] != "http":
                return await app(scope, receive, send)
            await send({"type": "http.response.start", "status": 500, "headers": [(b"content-length", b"6")]})
            await send({"type": "http.response.body", "body": b"broken"})
        return answer
    return wrap
"""


def say(text: str) -> None:
    print(f"\n=== {text}", flush=True)


def build(version: str, *, broken: bool = False) -> None:
    """Install the application from its published package, with everything it needs, into a directory that is the release."""
    place = os.path.join(BUILDS, f"shop-{version}")
    if os.path.exists(os.path.join(place, "complete")):
        return
    print(f"building {version} from the published package …", flush=True)
    shutil.rmtree(place, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--target", os.path.join(place, "lib"), "--no-compile"]
    command += ["--python-version", "3.11", "--implementation", "cp", "--only-binary", ":all:", f"datasette=={version}", "setuptools<80"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"pip could not install datasette {version}:\n{done.stdout}")
    for unneeded in ("pip", "bin"):
        shutil.rmtree(os.path.join(place, "lib", unneeded), ignore_errors=True)
    os.makedirs(os.path.join(place, "plugins"))
    if broken:
        with open(os.path.join(place, "plugins", "defect.py"), "w", encoding="utf-8") as file:
            file.write(DEFECT)
    with open(os.path.join(place, "complete"), "w", encoding="utf-8") as file:
        file.write(f"{version}\n")


def wrapped(line: str) -> str:
    """Return *line* for a terminal, whole: what it goes on with stands further in."""
    margin = "  " + line[:len(line) - len(line.lstrip())]
    return textwrap.fill(line.strip(), 150, initial_indent=margin, subsequent_indent=f"{margin}    ", break_long_words=False, break_on_hyphens=False)


def show(played: Played, *, start: str = "Rollout ") -> None:
    """Print what the playbook said in plain words: the plan, the report, the status."""
    printing = False
    for line in played.text.splitlines():
        if line.startswith(start):
            printing = True
        elif line.startswith(("ok:", "skipping:", "changed:", "fatal:", "TASK", "PLAY", "[")):
            printing = False
        if printing:
            print(wrapped(line))
    print(f"  [{played.seconds:.1f} s, exit code {played.code}]", flush=True)


def expect(condition: bool, what: str, played: Played | None = None) -> None:
    if not condition:
        if played:
            print(played.text[-6000:])
        raise SystemExit(f"\nNOT AS IT MUST BE: {what}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", action="store_true", help="the second act alone")
    table = [] if parser.parse_args().database else first_act()
    second_act()
    if table:
        say("Result of the first act again")
        print("\n".join(table))


def first_act() -> list[str]:
    """Return the lines of the table that it ends with."""
    os.makedirs(BUILDS, exist_ok=True)
    for version in (OLD, NEW, BROKEN):
        build(version, broken=version == BROKEN)
    begun = time.monotonic()
    say("Starting six web servers and two balancers")
    with Fleet(web=6, lb=2, check="/-/versions.json") as fleet:
        shutil.copytree(os.path.join(HERE, "group_vars"), os.path.join(fleet.directory, "group_vars"))
        variables = {"demo_builds": BUILDS}
        expect(fleet.play(os.path.join(HERE, "site.yml")).code == 0, "the servers could not be prepared")
        say(f"First release: {OLD}")
        first = fleet.play("seamless.rollout.rollout", {**variables, "rollout_release": OLD})
        show(first)
        expect(first.code == 0, "the first rollout failed", first)
        table = run_under_load(fleet, variables)
    table.append(f"  this act            {time.monotonic() - begun:.0f} s from the first container to the removal of the last")
    print(table[-1])
    print("\nNo request failed.")
    return table


def run_under_load(fleet: Fleet, variables: dict[str, str]) -> list[str]:
    # One client in five asks for the version, so that the time with two versions can be seen.
    pages = ["/-/actor.json"] * 4 + ["/-/versions.json"]
    urls = [f"http://{fleet.addresses[host]}{page}" for host in fleet.lb for page in pages]
    with Watch(fleet) as watch, Load(urls, rate=250, clients=20, version_key="datasette.version") as load:
        started = time.time()
        time.sleep(10)
        say(f"Rolling out {NEW}, with load on both balancers")
        load.mark("rollout")
        rolled_at = time.time()
        rolled = fleet.play("seamless.rollout.rollout", {**variables, "rollout_release": NEW})
        load.mark("quiet")
        show(rolled)
        expect(rolled.code == 0, "the rollout failed", rolled)
        out = watch.mean_out(rolled_at)
        time.sleep(5)
        say(f"Rolling out {BROKEN}, which answers every request with an error")
        load.mark("broken release")
        broken = fleet.play("seamless.rollout.rollout", {**variables, "rollout_release": BROKEN})
        load.mark("quiet")
        show(broken)
        expect(broken.code != 0, "the rollout of a broken release ended with exit code 0", broken)
        say("Status")
        status = fleet.play("seamless.rollout.status", variables)
        show(status, start="Status")
        standing = {host: fleet.standing(host) for host in fleet.lb}
        while load.requests < REQUESTS and time.time() - started < 270:
            time.sleep(0.5)
        fewest = watch.fewest_up()
    summary = load.summary()
    releases = {host: os.path.basename(fleet.shell(host, "readlink /srv/shop/current").strip()) for host in fleet.web}
    table = report(summary, out, releases, fewest, load.mixed_seconds("rollout"), rolled.seconds)
    say("Result")
    print("\n".join(table), flush=True)
    expect(all(release == NEW for release in releases.values()), f"not every host runs {NEW}: {releases}")
    expect(all(state.startswith("UP") for states in standing.values() for state in states.values()), f"not every server is up: {standing}")
    expect("rolled_back" in broken.text, "the broken release was not rolled back", broken)
    expect(summary["requests"] >= 50_000, f"only {summary['requests']} requests were made")
    expect(summary["failed"] == 0, f"requests failed: {summary['errors']}")
    return table


def report(summary: dict[str, t.Any], out: dict[str, float], releases: dict[str, str], fewest: int, mixed: float, seconds: float) -> list[str]:
    """Return the table: what clients saw, and how each host stands."""
    return [
        f"  requests            {summary['requests']}",
        f"  failed requests     {summary['failed']} {summary['errors'] or ''}",
        *(f"  {name:<18}  p50 {latency['p50']} ms, p99 {latency['p99']} ms" for name, latency in summary["latency"].items()),
        f"  rollout             {seconds:.1f} s; clients saw two versions for {mixed:.1f} s; never fewer than {fewest} of 6 servers in rotation",
        *(f"  {host:<18}  runs {release}, was out of rotation for {out[host]:.1f} s" for host, release in releases.items()),
    ]


def second_act() -> None:
    say("Starting three web servers, a balancer and PostgreSQL, with people in two tables")
    with Servers([POSTGRESQL], web=3, lb=1) as servers:
        shop = Shop(servers, rows=50_000)
        shop.prepare()
        for release in ("1.0", "2.0"):
            shop.build(release)
        pace: dict[str, t.Any] = {"batch": [1, 2], "canary": 1, "max_unavailable": 2}
        first = shop.rollout("1.0", **pace)
        show(first)
        expect(first.code == 0, "the first rollout failed", first)
        change_under_load(shop, pace)


def change_under_load(shop: Shop, pace: dict[str, t.Any]) -> None:
    with Load([f"http://{shop.fleet.addresses['lb1']}/write"], rate=60, clients=10, version_key="wrote") as load:
        say("Release 2.0 renames users.name and splits people.name, while clients write to both")
        rolled = shop.rollout("2.0", **pace)
        show(rolled)
        expect(rolled.code == 0, "the rollout failed", rolled)
        say("Back to 1.0: both shapes are there, so old code still works")
        back = shop.rollout("", playbook="rollback", **pace)
        show(back)
        expect(back.code == 0 and set(shop.releases().values()) == {"1.0"}, "the rollback failed", back)
        say("And forward again")
        again = shop.rollout("2.0", **pace)
        show(again)
        expect(again.code == 0 and len(shop.shapes()) == 2, "the second rollout failed", again)
        say("No host runs old code and nobody writes the old columns any more: they go, and can be brought back for a week")
        contracted = shop.rollout("2.0", playbook="contract")
        print(f"  [{contracted.seconds:.1f} s, exit code {contracted.code}; people's columns now: {', '.join(name for one in shop.shapes() for name in one)}]")
        expect(contracted.code == 0 and len(shop.shapes()) == 1, "the contract failed", contracted)
        say("Back to 1.0 once more, which the database no longer allows")
        refused = shop.rollout("", playbook="rollback", to="1.0")
        print(wrapped(next((line.strip(" -") for line in refused.text.splitlines() if "is below the release floor" in line), "")))
        expect(refused.code != 0 and set(shop.releases().values()) == {"2.0"}, "the rollback past the contract was not refused", refused)
    summary, keys = load.summary(), [sample.served.split()[1] for sample in load.samples if sample.served]
    troubles = shop.troubles(keys)
    say("Result")
    print(f"  {summary['requests']} requests wrote {3 * len(keys)} rows and changed {2 * len(keys)} others, through two rollouts, a rollback and a contract:")
    print(f"  {summary['failed']} requests failed, {len(troubles)} rows were lost or differ.")
    expect(summary["failed"] == 0, f"requests failed: {summary['errors']}")
    expect(not troubles and len(keys) == summary["requests"], f"rows were lost or differ: {troubles}")
    print("\nNo request failed, no row was lost.")


if __name__ == "__main__":
    main()
