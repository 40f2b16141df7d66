# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""The operation behind the module ``migration_framework``."""

from __future__ import annotations

import contextlib
import os
import re
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._migration import advisory
from ansible_collections.seamless.rollout.plugins.module_utils._migration.adapters import sqldir
from ansible_collections.seamless.rollout.plugins.module_utils._migration.adapters.base import CONTRACT, EXPAND, Settings
from ansible_collections.seamless.rollout.plugins.module_utils._migration.adapters.execute import Execution, Limits, sentence
from ansible_collections.seamless.rollout.plugins.module_utils._migration.adapters.registry import ADAPTERS, adapter_of
from ansible_collections.seamless.rollout.plugins.module_utils._migration.connection import CONNECTION_SPEC, opened
from ansible_collections.seamless.rollout.plugins.module_utils._migration.rules_base import ERROR, Finding

SQL = "sql"
SHOWN = 5  # findings in a refusal
ARGUMENT_SPEC: dict[str, t.Any] = {
    **CONNECTION_SPEC,
    "framework": {"type": "str", "choices": [*ADAPTERS, SQL], "required": True},
    "directory": {"type": "path", "required": True},
    "phase": {"type": "str", "choices": [EXPAND, CONTRACT, "status"], "required": True},
    "app": {"type": "str", "required": True},
    "release": {"type": "str", "default": ""},
    "split": {"type": "str", "default": ""},
    "expand": {"type": "list", "elements": "str", "default": []},
    "contract": {"type": "list", "elements": "str", "default": []},
    "binary": {"type": "list", "elements": "str", "default": []},
    "bin_dir": {"type": "path", "default": ""},
    "arguments": {"type": "list", "elements": "str", "default": []},
    "environment": {"type": "dict", "default": {}},
    "secret_environment": {"type": "dict", "default": {}, "no_log": True},
    "expand_cmd": {"type": "raw"},
    "contract_cmd": {"type": "raw"},
    "status_cmd": {"type": "raw"},
    "allow": {"type": "list", "elements": "str", "default": []},
    "begun": {"type": "list", "elements": "str", "default": []},
    "lock_timeout_ms": {"type": "int", "default": 500},
    "lock_wait_total": {"type": "float", "default": 120.0},
    "lock_deadline": {"type": "float", "default": 60.0},
    "timeout": {"type": "float", "default": 3600.0},
}

_SECRET = re.compile(r"PASS(?:WORD|WD|PHRASE)?$|PASSWORD|SECRET|TOKEN|CREDENTIAL|PRIVATE_KEY|API_KEY", re.IGNORECASE)
_LOGIN = re.compile(r"://[^\s:/@]+:[^\s@]+@")


def run(params: dict[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    """Run a phase of the framework, once, under the application's migration lock, or tell its state."""
    if params["framework"] == SQL:
        return _sql(params)

    @contextlib.contextmanager
    def lock() -> t.Iterator[tuple[int, ...]]:
        with opened(params) as db, advisory.migration_lock(db, params["app"], deadline=params["lock_deadline"]):
            yield (db.fileno(),)

    limits = Limits(params["timeout"], params["lock_wait_total"])
    settings = settings_of(params)
    execution = Execution(adapter_of(params["framework"]), settings, lock=lock, limits=limits, allow=params["allow"])
    return execution.status() if params["phase"] == "status" else execution.phase(check_mode)


def settings_of(params: t.Mapping[str, t.Any]) -> Settings:
    """Return the settings that a module's parameters mean. Raises SeamlessError for what can't be right."""
    for option in ("timeout", "lock_wait_total", "lock_deadline", "lock_timeout_ms"):
        if params[option] < 0 or option == "timeout" and not params[option]:
            raise SeamlessError(f"{option} is {params[option]}: use a number above 0.")
    directory = os.path.abspath(params["directory"])
    return Settings(
        framework=params["framework"],
        directory=directory,
        phase=EXPAND if params["phase"] == "status" else params["phase"],
        engine=params["engine"],
        app=params["app"],
        split=params["split"],
        expand=tuple(params["expand"]),
        contract=tuple(params["contract"]),
        binary=tuple(params["binary"]),
        bin_dir=params["bin_dir"],
        arguments=tuple(params["arguments"]),
        environment=_environment("environment", params["environment"]),
        secrets=_environment("secret_environment", params["secret_environment"]),
        lock_timeout_ms=params["lock_timeout_ms"],
        commands={which: _command(which, params[which]) for which in ("expand_cmd", "contract_cmd", "status_cmd") if params[which]},
    )


def _environment(option: str, given: t.Mapping[str, t.Any]) -> dict[str, str]:
    found = {}
    for key, value in given.items():
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise SeamlessError(f"{option}.{key} is {'not set' if value is None else type(value).__name__}: write it as a text, in quotes.")
        if option == "environment" and (_SECRET.search(key) or isinstance(value, str) and _LOGIN.search(value)):
            raise SeamlessError(f"{option}.{key} holds a secret by its look: move it to secret_environment, which is shown and logged nowhere.")
        found[key] = str(value)
    return found


def _command(option: str, given: t.Any) -> t.Any:
    if isinstance(given, str) and given.strip() or isinstance(given, list) and given and all(isinstance(word, (str, int)) for word in given):
        return given
    raise SeamlessError(f"{option} is {given!r}: write a list such as [./migrate, --expand], or a text for the shell.")


def _sql(params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    if params["phase"] != "status":
        raise SeamlessError(
            f"phase is {params['phase']} with framework sql: a directory of SQL goes through the module migration. Ask for phase: status here, and give each "
            "of the specs that it returns to seamless.rollout.migration."
        )
    if not params["release"]:
        raise SeamlessError("release is not set: with framework sql it is the first release that uses the new shape.")
    files = sqldir.read(params["directory"])
    specs = sqldir.specs(files, params["engine"], params["app"], params["release"])
    found = [(name, path, one) for name, path, one in sqldir.findings(files, params["engine"]) if name not in params["begun"]]
    result: dict[str, t.Any] = {
        "changed": False, "framework": SQL, "phase": "status", "specs": specs, "pending": [spec["name"] for spec in specs],
        "findings": [{"file": path, **one._asdict()} for dummy, path, one in found],
    }
    against = [(name, path, one) for name, path, one in found if one.level == ERROR and one.rule not in params["allow"]]
    result["warnings"] = [_told(path, one) for name, path, one in found if (name, path, one) not in against]
    if against:
        names = ", ".join(dict.fromkeys(item[0] for item in against))
        told = " ".join(_told(path, one) for dummy, path, one in against[:SHOWN])
        more = f" There are {len(against) - SHOWN} more in findings." if len(against) > SHOWN else ""
        raise SeamlessError(
            f"{names} would break running code or hold up clients, so nothing is run: {told}{more} Or name the rules in allow, where it is meant.", **result
        )
    return result


def _told(path: str, one: Finding) -> str:
    return f"{os.path.basename(path)}, line {one.line}: {one.rule}: {one.message}. {sentence(one.what_would_do)}"
