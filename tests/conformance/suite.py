# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the suite that every driver must pass, in containers: ``python -m conformance.suite [SUBJECT …] [--all] [--table]``."""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import re
import secrets
import subprocess
import sys
import typing as t

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DOCUMENT = os.path.join(REPO, "docs", "docsite", "rst", "balancer_conformance.rst")
AT_ONCE = 2  # subjects
TIMEOUT = 600  # seconds for one subject


class Place(t.NamedTuple):
    """A subject, and the suite of Debian whose programs it is tried with."""

    subject: str
    suite: str = "bookworm"

    def __str__(self) -> str:
        return f"{self.subject}-{self.suite}"


# Those that are real programs, first; each name is one of conformance.subjects.
REAL = ("haproxy", "health_file", "nginx", "traefik", "envoy", "apache", "varnish", "caddy", "keepalived", "command", "example")
FAKE = ("nginx_plus", "haproxy_dataplane", "aws_target_group", "hetzner", "digitalocean", "linode", "cloudflare")
ORDINARY = tuple(Place(name) for name in (*REAL, *FAKE))
# The health file on the other balancers that have checks of their own.
FOLLOWED = tuple(Place(f"health_file-{name}") for name in ("traefik", "envoy", "varnish", "apache", "caddy"))
OTHER_VERSIONS = (Place("haproxy", "bullseye"), Place("haproxy", "trixie"), Place("haproxy", "forky"), Place("nginx", "forky"), Place("caddy_2.6"), *FOLLOWED)


class Conformed(t.NamedTuple):
    """What came of one subject. *cases* are as ``conformance.run`` prints them: case, outcome, text, seconds."""

    place: Place
    driver: str
    title: str
    version: str
    why: str
    cases: list[dict[str, t.Any]]
    trouble: str

    @property
    def failed(self) -> list[dict[str, t.Any]]:
        return [case for case in self.cases if case["outcome"] == "failed"]


def _tool(*command: str) -> str:
    done = subprocess.run([os.path.join(REPO, "tests", "tools", command[0]), *command[1:]], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()


def in_container(place: Place, module: str, *arguments: str, rights: t.Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Run a module of the tests for *place* in a container of its own, with the *rights* named, which is gone afterwards whatever happens."""
    engine, name = _tool("engine.sh"), f"seamless-{secrets.token_hex(3)}-{module.partition('.')[0]}"
    command = [
        engine, "run", "--rm", "--name", name, "--network", "none", "--ulimit", "nofile=20000:20000", "--ulimit", "nproc=10000:10000",
        *(["--runtime", "runc"] if engine.endswith("podman") else []), *(word for right in rights for word in ("--cap-add", right)),
        "--volume", f"{REPO}:{REPO}:ro", "--volume", f"{_tool('binaries.sh')}:/balancers:ro", "--env", f"PYTHONPATH={REPO}/build/tree:{REPO}/tests",
        "--env", "PYTHONDONTWRITEBYTECODE=1", _tool("image.sh", "balancers", place.suite), "python3", "-m", module, place.subject, *arguments,
    ]
    try:
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=TIMEOUT, check=False)
    finally:
        subprocess.run([engine, "rm", "--force", "--ignore", name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def conform(place: Place, *cases: str) -> Conformed:
    """Run the suite for *place*, or some of its cases."""
    # keepalived needs networks of its own inside.
    rights = ("NET_ADMIN", "SYS_ADMIN", "NET_RAW") if place.subject == "keepalived" else ()
    done = in_container(place, "conformance.run", *cases, rights=rights)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    head = lines[0] if lines else {"driver": place.subject, "title": place.subject, "version": "?", "why": ""}
    return Conformed(place, head["driver"], head["title"], head["version"], head["why"], lines[1:], done.stderr[-3000:] if done.returncode else "")


def table(results: t.Sequence[Conformed]) -> str:
    """Return the page of the documentation that says what each driver passed."""
    lines = [
        "..", "  Copyright (c) 2026, Seamless Rollout Contributors",
        "  GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)",
        "  SPDX-License-Identifier: GPL-3.0-or-later", "", ".. _ansible_collections.seamless.rollout.docsite.balancer_conformance:", "",
        "What each balancer driver passed", "================================", "",
        "Every driver goes through the same cases, with twenty-two clients at the balancer while its three members are taken out, killed, started",
        "and put back one after another. This page is written by ``make conformance``; numbers of requests are those of its last run.", "",
    ]
    for result in results:
        title = result.title.replace(" (fake)", "") + (f" {result.version}" if result.version[:1].isdigit() else "")
        kind = " (a stand-in made from the interface's description)" if result.place.subject in FAKE else ""
        lines += [title + kind, "-" * len(title + kind), "", f"Driver ``{result.driver}``.", ""]
        for case in result.cases:
            said = {"passed": "passed", "failed": "FAILED", "limited": "not possible"}[case["outcome"]]
            text = case["text"].strip().splitlines()[-1] if case["outcome"] == "failed" and case["text"].strip() else case["text"]
            if re.fullmatch(r"\d+ of \d+", text):
                text = f"{text} requests failed" + (f": {result.why}" if result.why else "")
            lines.append(f"* {case['case']}: {said}" + (f" ({text})" if text else ""))
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("subject", nargs="*", help=f"by default all: {', '.join((*REAL, *FAKE))}")
    parser.add_argument("--all", action="store_true", help="other versions of the same programs, too")
    parser.add_argument("--table", action="store_true", help="write the page of the documentation")
    arguments = parser.parse_args()
    places = [*ORDINARY, *(OTHER_VERSIONS if arguments.all else ())]
    results = []
    wanted = [place for place in places if not arguments.subject or place.subject in arguments.subject]
    wanted.sort(key=lambda one: (one.subject in FAKE, one.subject))
    for result in concurrent.futures.ThreadPoolExecutor(AT_ONCE).map(conform, wanted):
        place = result.place
        results.append(result)
        counts = {outcome: sum(case["outcome"] == outcome for case in result.cases) for outcome in ("passed", "limited", "failed")}
        print(f"{place!s:<28} {result.version:<10} " + ", ".join(f"{number} {outcome}" for outcome, number in counts.items()), flush=True)
        for case in result.failed:
            print(f"  {case['case']}: {case['text'][-600:]}", flush=True)
        if result.trouble:
            print(result.trouble, flush=True)
    if arguments.table:
        with open(DOCUMENT, "w", encoding="utf-8") as file:
            file.write(table(results))
    sys.exit(1 if any(result.failed or result.trouble for result in results) else 0)


if __name__ == "__main__":
    main()
