# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What sets up the tests, on machines that lack something (a PATH of a few programs and stand-ins), and what the demo and the bench say."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import typing as t

import pytest
from bench.bench import with_cpu
from demo import demo
from fleet.fleet import Played

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PLAIN = ["bash", "sh", "env", "cat", "chmod", "cut", "dirname", "grep", "ln", "mkdir", "mktemp", "rm", "sha256sum", "sort", "tail", "touch", "which", "xargs"]
ENGINE = """\
echo "$@" >> {place}/log
case $1 in
    image) exit 1 ;;
    info) exit {answers} ;;
    build) [ {registry} = yes ] || {{ echo no registry answers; exit 1; }} ;;
esac
"""


class Machine:
    """A machine whose PATH holds what is plain and stand-ins, in directories of their own: nothing is ever written over a link to a real program."""

    def __init__(self, directory: str) -> None:
        self.place, plain = os.path.join(directory, "stand-ins"), os.path.join(directory, "plain")
        os.mkdir(self.place)
        os.mkdir(plain)
        for name in PLAIN:
            os.symlink(shutil.which(name) or "", os.path.join(plain, name))
        self.path = f"{self.place}{os.pathsep}{plain}"

    def program(self, name: str, text: str) -> None:
        with open(os.path.join(self.place, name), "x", encoding="utf-8") as file:
            file.write(f"#!/bin/sh\n{text}\n")
            os.fchmod(file.fileno(), 0o755)

    def engine(self, name: str, *, registry: bool = True, answers: bool = True) -> None:
        self.program(name, ENGINE.format(place=self.place, registry="yes" if registry else "no", answers=int(not answers)))

    @property
    def asked(self) -> list[str]:
        with open(os.path.join(self.place, "log"), encoding="utf-8") as file:
            return [line.split()[0] for line in file]

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        variables = {"PATH": self.path, "TMPDIR": self.place, **environment}
        return subprocess.run(command, env=variables, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)


@pytest.fixture
def machine(tmp_path: t.Any) -> Machine:
    return Machine(str(tmp_path))


def tool(name: str) -> str:
    return os.path.join(REPO, "tests", "tools", name)


@pytest.mark.parametrize(
    ("engines", "environment", "expected"),
    [
        ([], {}, "podman"),
        (["podman"], {}, "podman"),
        (["podman", "docker"], {}, "podman"),
        (["docker"], {}, "docker"),
        (["deaf docker"], {}, "podman"),
        (["podman"], {"CONTAINER_ENGINE": "docker"}, "docker"),
    ],
)
def test_docker_is_taken_where_it_answers_and_there_is_no_podman(machine: Machine, engines: list[str], environment: dict[str, str], expected: str) -> None:
    for name in engines:
        machine.engine(name.split()[-1], answers="deaf" not in name)
    assert machine.run(tool("engine.sh"), **environment).stdout.strip() == expected


ARCHIVE = {"works": "touch \"$TMPDIR/used\"; for last; do :; done; touch \"$last\"", "fails": "echo no archive answers; exit 1"}


@pytest.mark.parametrize(
    ("archive", "registry", "asked", "code"),
    [
        ("works", False, ["image", "import"], 0),
        ("fails", True, ["image", "build"], 0),
        (None, True, ["image", "build"], 0),
        ("fails", False, ["image", "build"], 1),
        (None, False, ["image", "build"], 1),
    ],
)
def test_an_image_is_built_from_the_archive_or_from_a_registry(machine: Machine, archive: str | None, registry: bool, asked: list[str], code: int) -> None:
    machine.engine("podman", registry=registry)
    if archive:
        machine.program("mmdebstrap", ARCHIVE[archive])
    built = machine.run(tool("image.sh"))
    assert (built.returncode, machine.asked) == (code, asked), built.stderr
    assert built.stdout.startswith("localhost/seamless-rollout-fleet:") == (code == 0)
    assert ("no archive answers" in built.stderr) == (archive == "fails") and ("no registry answers" in built.stderr) == bool(code)


def find_python(machine: Machine, tmp_path: t.Any) -> subprocess.CompletedProcess[str]:
    for name in ("setup.sh", "engine.sh"):
        (tmp_path / "tests" / "tools").mkdir(parents=True, exist_ok=True)
        shutil.copy(tool(name), tmp_path / "tests" / "tools" / name)
    return machine.run("bash", "-c", 'source "$0"; find_python', str(tmp_path / "tests" / "tools" / "setup.sh"))


def test_a_machine_without_python_gets_it_from_the_distribution(machine: Machine, tmp_path: t.Any) -> None:
    python = os.path.join(machine.place, "python3")
    made = f"printf '#!/bin/sh\\necho {python}\\n' > {python}; chmod +x {python}"
    machine.program("dpkg", "exit 1")
    machine.program("apt-get", f'echo "$@" >> {machine.place}/log; [ "$1" = update ] || {{ {made}; }}')
    found = find_python(machine, tmp_path)
    assert (found.returncode, found.stdout.strip()) == (0, python), found.stderr
    with open(os.path.join(machine.place, "log"), encoding="utf-8") as file:
        assert file.read().splitlines()[1].endswith("--no-install-recommends python3 python3-venv")


def test_a_machine_whose_python_is_too_old_is_left_as_it_is(machine: Machine, tmp_path: t.Any) -> None:
    machine.program("python3", "exit 0")
    machine.engine("apt-get")
    found = find_python(machine, tmp_path)
    assert found.returncode == 1 and "Python 3.11 or newer is needed" in found.stderr
    assert not os.path.exists(os.path.join(machine.place, "log"))


def test_the_cpu_of_a_bench_is_that_of_what_is_measured_and_not_of_the_load_beside_it() -> None:
    busy = [sys.executable, "-c", "import time\nwhile time.process_time() < 0.3: pass"]
    with subprocess.Popen(busy) as beside:
        played, cpu = with_cpu(lambda: Played(subprocess.run([sys.executable, "-c", ""], check=True).returncode, "", 0.0))
        beside.wait()
    assert played.code == 0 and 0 < cpu < 0.25
    assert with_cpu(lambda: Played(subprocess.run(busy, check=True).returncode, "", 0.0))[1] >= 0.3


def test_the_demo_ends_with_the_table_of_its_first_act(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    latency = {"quiet": {"p50": 4.0, "p99": 9.0}, "rollout": {"p50": 4.5, "p99": 11.0}}
    summary = {"requests": 50_600, "failed": 0, "errors": {}, "latency": latency}
    table = demo.report(summary, {"web1": 2.4}, {"web1": "0.65.1"}, 5, 7.0, 21.0)
    monkeypatch.setattr(demo, "first_act", lambda: table)
    monkeypatch.setattr(demo, "second_act", lambda: print("the second act"))
    monkeypatch.setattr(sys, "argv", ["demo.py"])
    demo.main()
    end = capsys.readouterr().out.partition("the second act")[2]
    for words in ("50600", "failed requests     0", "p50 4.5 ms, p99 11.0 ms", "web1                runs 0.65.1, was out of rotation for 2.4 s"):
        assert words in end
