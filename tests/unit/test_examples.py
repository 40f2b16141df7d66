# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The guide of the examples shows lines of files that the Molecule scenarios run, and no others."""

from __future__ import annotations

import os
import re
import textwrap

import pytest

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
with open(os.path.join(REPO, "docs", "docsite", "rst", "examples.rst"), encoding="utf-8") as guide:
    TEXT = guide.read()
EXAMPLES = re.findall(r"^\* `(\w+) <", TEXT, re.MULTILINE)
SECTIONS = {
    "HAProxy and gunicorn": "haproxy_gunicorn", "nginx and php-fpm": "nginx_php_fpm", "Apache and mod_php": "apache_php", "Caddy and Node": "caddy_node",
}


def lines_of(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def files_of(example: str) -> list[list[str]]:
    found = []
    for place, dummy, names in os.walk(os.path.join(REPO, "molecule", example)):
        for name in names:
            with open(os.path.join(place, name), encoding="utf-8") as file:
                found.append(lines_of(file.read()))
    return found


@pytest.mark.parametrize(("title", "example"), SECTIONS.items())
def test_what_the_guide_shows_stands_in_a_file_of_the_example(title: str, example: str) -> None:
    section = re.split(rf"^{title}\n-+\n", TEXT, flags=re.MULTILINE)[1]
    section = re.split(r"^[^\n]+\n-{4,}\n", section, flags=re.MULTILINE)[0]
    blocks = [lines_of(textwrap.dedent(block)) for block in re.findall(r"^\.\. code-block:: \w+\n\n((?:   .*\n|\n)+)", section, re.MULTILINE)]
    files = files_of(example)
    assert blocks
    for block in blocks:
        # In the order of the file; remarks in between may be left out.
        assert any(is_part(block, lines) for lines in files), block


def is_part(block: list[str], lines: list[str]) -> bool:
    rest = iter(lines)
    return all(line in rest for line in block)


def test_the_guide_names_every_example_and_no_other() -> None:
    molecule = os.path.join(REPO, "molecule")
    assert sorted(EXAMPLES) == sorted(name for name in os.listdir(molecule) if os.path.exists(os.path.join(molecule, name, "rollout.yml")))


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_complete(example: str) -> None:
    for name in ("inventory.yml", "group_vars/app.yml", "servers.yml", "rollout.yml", "app", "molecule.yml"):
        assert os.path.exists(os.path.join(REPO, "molecule", example, name)), name
