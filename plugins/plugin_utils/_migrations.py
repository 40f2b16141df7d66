# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""What a rollout does to the database: ``rollout_migrations`` is checked, and the migrations of a release are read, before any host is touched."""

from __future__ import annotations

import dataclasses
import difflib
import os
import typing as t

import yaml
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._migration import spec as specs
from ansible_collections.seamless.rollout.plugins.module_utils._migration.adapters.registry import ADAPTERS
from ansible_collections.seamless.rollout.plugins.module_utils._migration.connection import CONNECTION_SPEC
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import ENGINES, POSTGRESQL
from ansible_collections.seamless.rollout.plugins.module_utils._release import floor as floors
from ansible_collections.seamless.rollout.plugins.plugin_utils import _migration_lint as lint
from ansible_collections.seamless.rollout.plugins.plugin_utils import _source as source

# Runs once before the first host and once after the last, as an action of rollout_once_before and rollout_once_after does.
ROLE = "seamless.rollout.migration"
OPTIONS = (
    *CONNECTION_SPEC, "host", "directory", "framework", "also_runs", "retired", "pinned", "poolers", "quiet_period", "min_age", "wait", "timeout",
    "allow",
)
LISTS = ("also_runs", "retired", "pinned", "poolers", "allow")
SECONDS = ("quiet_period", "min_age", "wait", "timeout")
# The options of migration_framework that a user gives; the rest is the role's business.
FRAMEWORK = (
    "framework", "directory", "contract_when", "split", "expand", "contract", "binary", "bin_dir", "arguments", "environment", "secret_environment",
    "expand_cmd", "contract_cmd", "status_cmd", "allow",
)
REASONS = {"retired": "host", "pinned": "release"}
_EXAMPLE = "{engine: postgresql, login_host: db.example.org, login_db: shop}"


def problems(value: t.Any, hosts: t.Container[str]) -> list[str]:
    """Return a sentence for everything that is wrong with ``rollout_migrations``. *hosts* are those of the inventory."""
    name = "rollout_migrations"
    if not isinstance(value, dict):
        return [f"{name} is {value!r}: use a dictionary that says how to reach the database, such as {_EXAMPLE}."]
    found = []
    for key in value:
        if key not in OPTIONS:
            near = difflib.get_close_matches(str(key), OPTIONS, n=1)
            found.append(f"{name}.{key} is not known: use {', '.join(OPTIONS)}." + (f" Did you mean {near[0]}?" if near else ""))
    if not value.get("login_db"):
        found.append(f"{name}.login_db is not set: name the application's database, such as {_EXAMPLE}.")
    if value.get("engine", POSTGRESQL) not in ENGINES:
        found.append(f"{name}.engine is {value['engine']!r}: use one of {', '.join(ENGINES)} (MySQL is mariadb).")
    if value.get("host") and value["host"] not in hosts:
        found.append(f"{name}.host is {value['host']!r}, which is not in the inventory: name the host that reaches the database, or leave it out.")
    found += [f"{name}.{key} is {value[key]!r}: use a list." for key in LISTS if key in value and not isinstance(value[key], list)]
    for key in SECONDS:
        number = value.get(key, 0)
        if isinstance(number, bool) or not isinstance(number, (int, float)) or number < 0:
            found.append(f"{name}.{key} is {number!r}: use a number of seconds, 0 or more.")
    for key, what in REASONS.items():
        for item in value[key] if isinstance(value.get(key), list) else []:
            if not (isinstance(item, dict) and item.get(what) and item.get("reason")):
                found.append(f"{name}.{key} has {item!r}: give {what} and reason, such as {{{what}: {'web9' if what == 'host' else '1.4'}, reason: why}}.")
    if "framework" in value:
        found += _framework_problems(value["framework"], f"{name}.framework")
    try:
        floors.check_directory(str(value.get("directory") or floors.DIRECTORY))
    except SeamlessError as exc:
        found.append(f"{name}.directory: {exc}")
    return found


def _framework_problems(value: t.Any, name: str) -> list[str]:
    if not (isinstance(value, dict) and value.get("framework")):
        return [f"{name} is {value!r}: use the options of migration_framework, such as {{framework: alembic, bin_dir: venv/bin}}."]
    found = []
    kinds = [*ADAPTERS, "sql"]
    if value["framework"] not in kinds:
        near = difflib.get_close_matches(str(value["framework"]), kinds, n=1)
        found.append(f"{name}.framework is {value['framework']!r}: use one of {', '.join(kinds)}." + (f" Did you mean {near[0]}?" if near else ""))
    for key in value:
        if key not in FRAMEWORK:
            near = difflib.get_close_matches(str(key), FRAMEWORK, n=1)
            found.append(f"{name}.{key} is not known: use {', '.join(FRAMEWORK)}." + (f" Did you mean {near[0]}?" if near else ""))
    if value.get("contract_when", "manual") not in ("manual", "same_run"):
        found.append(f"{name}.contract_when is {value['contract_when']!r}: use manual or same_run.")
    return found


class Seen(t.NamedTuple):
    """What the migrations of a release would do: sentences that refuse it, and notes for the plan."""

    problems: list[str]
    notes: list[str]


def look(value: t.Mapping[str, t.Any], *, app: str, state_dir: str, resolved: t.Mapping[str, t.Any]) -> Seen:
    """Read the migrations of a release that is pinned on this controller. What a host gets by itself is read there, when it is staged."""
    seen = Seen([], [])
    tree, directory = resolved.get("tree"), str(value.get("directory") or floors.DIRECTORY)
    if not tree:
        return seen
    engine = str(value.get("engine") or POSTGRESQL)
    framework = value.get("framework") or {}
    allow = [*(value.get("allow") or []), *(framework.get("allow") or [])]
    names = source.carried(state_dir, str(resolved["digest"]), str(tree), directory)
    tools = lint.installed() if names or framework else lint.NO_TOOLS
    looked = False
    for name in names:
        path = next((path for path in (os.path.join(str(tree), directory, f"{name}.{end}") for end in ("yml", "yaml")) if os.path.isfile(path)), None)
        if path is None:
            continue  # squashed, or files of SQL
        where = os.path.join(directory, os.path.basename(path))
        try:
            with open(path, encoding="utf-8") as file:
                text = file.read()
            given = yaml.safe_load(text)
            spec = specs.parse(given, name)
        except (SeamlessError, yaml.YAMLError, UnicodeDecodeError) as exc:
            seen.problems.append(f"{where}: {exc}")
            continue
        if spec.app != app:
            seen.problems.append(f"{where}: app is {spec.app!r}, and this rollout is of {app!r}: correct one of them.")
        seen.notes.append(f"database: {name} ({', '.join(key for operation in spec.operations for key in operation)}), contract: {spec.contract.when}")
        found = lint.lint_spec(given, where, engine, tools, text=text)
        against = lint.refused(found, allow)
        if against:
            seen.problems.extend(lint.report(against).splitlines())
            seen.problems.append(f"Nothing of {where} is run. Where it is meant, name the rules in rollout_migrations.allow.")
        seen.notes.extend(lint.report(one for one in found if one not in against).splitlines())
        looked = True
    if framework.get("framework") == "sql":
        looked = _look_at_sql(seen, str(tree), str(framework.get("directory") or directory), engine, tools) or looked
    missing = tools.missing(engine) if looked else []
    if missing:
        seen.notes.append(f"database: {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed on the controller, and would see more")
    return seen


def _look_at_sql(seen: Seen, tree: str, directory: str, engine: str, tools: lint.Tools) -> bool:
    """Note what speaks against a directory of SQL. The host refuses: it knows what has begun and is past judging. Returns whether there was anything."""
    place = os.path.join(tree, directory)
    if not os.path.isdir(place) or not any(name.endswith(".sql") for name in os.listdir(place)):
        return False
    try:
        found = lint.lint_directory(place, engine, tools)
    except SeamlessError as exc:
        seen.problems.append(str(exc).replace(os.path.join(tree, ""), ""))
        return False
    seen.notes.extend(lint.report(dataclasses.replace(one, file=os.path.relpath(one.file, tree)) for one in found).splitlines())
    return True
