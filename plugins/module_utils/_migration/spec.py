# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""A migration as its author wrote it: checked, with its defaults filled in. Pure."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError

NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$")
ACKNOWLEDGEABLE = ("galera",)
_EXAMPLE = "{rename_column: {table: users, from: name, to: full_name}}"

# operation -> its keys, each with what it takes; a "!" means that it must be there.
OPERATIONS: dict[str, dict[str, str]] = {
    "add_column": {"table": "table!", "column": "text!", "type": "text!", "default": "sql", "nullable": "bool", "backfill": "sql"},
    "drop_column": {"table": "table!", "column": "text!", "down": "sql"},
    "rename_column": {"table": "table!", "from": "text!", "to": "text!"},
    "rename_table": {"from": "table!", "to": "table!"},
    "change_type": {
        "table": "table!", "column": "text!", "type": "text!", "to": "text", "up": "sql", "down": "sql", "lossy": "refuse|acknowledge",
        "prepared_statements": "none",
    },
    "split_column": {"table": "table!", "from": "column!", "to": "types!", "up": "expressions!", "down": "expressions!", "lossy": "refuse|acknowledge"},
    "merge_columns": {"table": "table!", "from": "columns!", "to": "types!", "up": "expressions!", "down": "expressions!", "lossy": "refuse|acknowledge"},
    "set_not_null": {"table": "table!", "column": "text!", "value": "sql!"},
    "add_unique": {"table": "table!", "columns": "columns!", "name": "text"},
    "add_foreign_key": {"table": "table!", "columns": "columns!", "references": "references!", "name": "text", "on_delete": "text"},
    "add_check": {"table": "table!", "name": "text!", "check": "text!"},
    "add_index": {"table": "table!", "columns": "columns!", "name": "text", "unique": "bool", "method": "text", "where": "text"},
    "drop_index": {"table": "table!", "name": "text!"},
    "drop_table": {"table": "table!"},
    "sql": {"expand": "statements", "backfill": "fills", "verify": "statements", "contract": "statements", "abort": "statements", "tables": "tables"},
}  # fmt: skip

_WANTED = {
    "table": "a name such as users, app.users or [app, users]",
    "text": "a text",
    "sql": "a text with an SQL expression, a number or true/false",
    "bool": "true or false",
    "column": "a column's name, or {name: type}",
    "columns": "a list of column names",
    "types": "columns with their types, such as {first: text, last: text}",
    "expressions": "columns with the SQL expressions that fill them, such as {first: \"split_part(name, ' ', 1)\"}",
    "references": "{table: other, columns: [id]}",
    "statements": "a list of SQL statements",
    "fills": "{table: users, set: \"b = a\", where: \"b IS NULL\"}, or a list of SQL statements",
    "tables": "a list of table names",
}


@dataclasses.dataclass(frozen=True)
class Contract:
    """When the old shape goes. Seconds."""

    when: str = "next_release"
    quiet_period: float = 600
    quarantine: float = 604800


@dataclasses.dataclass(frozen=True)
class Limits:
    """How much the migration may get in the way of the application.

    *kill_blockers*: sessions that hold a lock that we need and have been idle in their transaction for so many seconds are ended.
    """

    max_stall_ms: int = 150
    lock_wait_total: float = 600
    kill_blockers: float | None = None
    batch_ms: float = 80
    max_lag: float | None = 5
    max_sessions: int | None = None
    throttle_query: str | None = None
    pause_file: str | None = None


@dataclasses.dataclass(frozen=True)
class Spec:
    """A checked migration. *operations* are the author's, each a mapping with one key."""

    app: str
    name: str
    release: str
    operations: tuple[dict[str, t.Any], ...]
    contract: Contract = Contract()
    limits: Limits = Limits()
    shield: bool = False
    canary: bool = True
    acknowledge: tuple[str, ...] = ()

    @property
    def tag(self) -> str:
        return tag_of(self.app, self.name)

    @property
    def checksum(self) -> str:
        """The digest of what can't change once the migration has started. Limits and the times of the contract can."""
        pinned = [self.app, self.name, self.release, self.operations, self.shield, self.canary]
        return hashlib.sha256(json.dumps(pinned, sort_keys=True).encode()).hexdigest()

    def acknowledged(self, number: int) -> bool:
        """Say whether the author knows that operation *number* (from 0) loses what its new shape can't hold."""
        return any(bool(isinstance(values, dict) and values.get("lossy") == "acknowledge") for values in self.operations[number].values())

    def to_json(self) -> dict[str, t.Any]:
        return t.cast("dict[str, t.Any]", json.loads(json.dumps(dataclasses.asdict(self))))


def tag_of(app: str, name: str) -> str:
    """Return what the names of all objects of the migration carry."""
    return hashlib.sha256(f"{app}/{name}".encode()).hexdigest()[:8]


def parse(data: t.Any, name: str) -> Spec:
    """Return the migration *name* that *data* describes. Raises SeamlessError that says what is wrong, with the value, and what would do."""
    if not NAME.match(name or ""):
        raise SeamlessError(f"name is {name!r}: a migration's name has letters, digits, '.', '_' and '-', such as 2026_11_22_01_user_name.")
    where = f"migration {name}"
    if not isinstance(data, t.Mapping):
        raise SeamlessError(f"{where} is {_shown(data)}: it must be a mapping with app, release and operations.")
    if data.get("name", name) != name:
        raise SeamlessError(f"{where}: its name key is {data['name']!r}: leave it out, or give it the name of the file.")
    _only(data, ("app", "name", "release", "operations", "contract", "limits", "shield", "canary", "acknowledge"), where)
    app = data.get("app")
    if not isinstance(app, str) or not app.strip() or len(app) > 190:
        raise SeamlessError(f"{where}: app is {_shown(app)}: give the application's name, such as app: shop.")
    return Spec(
        app=app,
        name=name,
        release=_release(data.get("release"), where),
        operations=_operations(data.get("operations"), where),
        contract=_contract(data.get("contract"), where),
        limits=_limits(data.get("limits"), where),
        shield=_bool(data.get("shield", False), f"{where}: shield"),
        canary=_bool(data.get("canary", True), f"{where}: canary"),
        acknowledge=_acknowledge(data.get("acknowledge"), where),
    )


def stored(data: t.Mapping[str, t.Any]) -> Spec:
    """Return the migration that :meth:`Spec.to_json` wrote."""
    return Spec(
        **{
            **data,
            "operations": tuple(data["operations"]),
            "acknowledge": tuple(data["acknowledge"]),
            "contract": Contract(**data["contract"]),
            "limits": Limits(**data["limits"]),
        }
    )


def _shown(value: t.Any) -> str:
    if value is None:
        return "not set"
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 120 else f"{text[:120]} …"


def _only(values: t.Mapping[t.Any, t.Any], known: t.Collection[str], where: str) -> None:
    for key in values:
        if key not in known:
            raise SeamlessError(f"{where}: there is no key {key!r} here (it is {_shown(values[key])}). The keys are: {', '.join(known)}.")


def _release(value: t.Any, where: str) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and value.strip() and len(value) <= 255:
        return value
    hint = ' Put it in quotes, since 1.10 without them is the number 1.1: release: "1.10".' if isinstance(value, float) else ""
    raise SeamlessError(f'{where}: release is {_shown(value)}: give the first release that uses the new shape, such as release: "42".{hint}')


def _bool(value: t.Any, what: str) -> bool:
    if isinstance(value, bool):
        return value
    raise SeamlessError(f"{what} is {_shown(value)}: it must be true or false.")


def _acknowledge(value: t.Any, where: str) -> tuple[str, ...]:
    values = [] if value is None else value
    if not isinstance(values, list) or any(item not in ACKNOWLEDGEABLE for item in values):
        raise SeamlessError(f"{where}: acknowledge is {_shown(value)}: it must be a list of these: {', '.join(ACKNOWLEDGEABLE)}.")
    return tuple(values)


def _number(values: t.Mapping[str, t.Any], key: str, default: t.Any, where: str, *, low: float = 0, whole: bool = False) -> t.Any:
    value = values.get(key, default)
    if value is None and default is None:
        return None
    if value is None and key == "max_lag":
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < low or (whole and value != int(value)):
        unit = "milliseconds" if key.endswith("_ms") else "sessions" if key == "max_sessions" else "seconds"
        example = 20 if default is None else default
        raise SeamlessError(f"{where}.{key} is {_shown(value)}: it must be a number of {unit}, {low:g} or more, such as {example}.")
    return int(value) if whole else float(value)


def _contract(value: t.Any, where: str) -> Contract:
    values = {} if value is None else value
    where = f"{where}: contract"
    if not isinstance(values, t.Mapping):
        raise SeamlessError(f"{where} is {_shown(value)}: it must be a mapping such as {{when: next_release, quiet_period: 600, quarantine: 604800}}.")
    _only(values, ("when", "quiet_period", "quarantine"), where)
    when = values.get("when", "next_release")
    if when not in ("next_release", "same_run", "manual"):
        raise SeamlessError(f"{where}.when is {_shown(when)}: it must be next_release, same_run or manual.")
    return Contract(when, _number(values, "quiet_period", 600, where), _number(values, "quarantine", 604800, where))


def _limits(value: t.Any, where: str) -> Limits:
    values = {} if value is None else value
    where = f"{where}: limits"
    if not isinstance(values, t.Mapping):
        raise SeamlessError(f"{where} is {_shown(value)}: it must be a mapping such as {{max_stall_ms: 150, batch_ms: 80}}.")
    _only(values, [field.name for field in dataclasses.fields(Limits)], where)
    for key in ("throttle_query", "pause_file"):
        if values.get(key) is not None and (not isinstance(values[key], str) or not values[key].strip()):
            raise SeamlessError(f"{where}.{key} is {_shown(values[key])}: it must be a text, or null.")
    return Limits(
        max_stall_ms=_number(values, "max_stall_ms", 150, where, low=10, whole=True),
        lock_wait_total=_number(values, "lock_wait_total", 600, where),
        kill_blockers=_number(values, "kill_blockers", None, where, low=1),
        batch_ms=_number(values, "batch_ms", 80, where, low=1),
        max_lag=_number(values, "max_lag", 5, where),
        max_sessions=_number(values, "max_sessions", None, where, low=1, whole=True),
        throttle_query=values.get("throttle_query"),
        pause_file=values.get("pause_file"),
    )


def _operations(value: t.Any, where: str) -> tuple[dict[str, t.Any], ...]:
    if not isinstance(value, list) or not value:
        raise SeamlessError(f"{where}: operations is {_shown(value)}: it must be a list, such as [{_EXAMPLE}].")
    return tuple(_operation(item, f"{where}: operation {number}") for number, item in enumerate(value, start=1))


def _operation(value: t.Any, where: str) -> dict[str, t.Any]:
    if not isinstance(value, t.Mapping) or len(value) != 1:
        raise SeamlessError(f"{where} is {_shown(value)}: it must be one operation with its keys, such as {_EXAMPLE}.")
    kind, values = next(iter(value.items()))
    if kind not in OPERATIONS:
        raise SeamlessError(f"{where} is {kind!r}, which is no operation. The operations are: {', '.join(OPERATIONS)}.")
    where = f"{where} ({kind})"
    if not isinstance(values, t.Mapping):
        raise SeamlessError(f"{where} is {_shown(values)}: it must be a mapping with {', '.join(OPERATIONS[kind])}.")
    _only(values, list(OPERATIONS[kind]), where)
    for key, wanted in OPERATIONS[kind].items():
        kinds = wanted.rstrip("!")
        if key not in values or values[key] is None:
            if wanted.endswith("!"):
                raise SeamlessError(f"{where}: {key} is not set: it must be {_WANTED[kinds]}.")
            continue
        if not _fits(kinds, values[key]):
            described = _WANTED.get(kinds) or f"one of {kinds.replace('|', ', ')}"
            raise SeamlessError(f"{where}: {key} is {_shown(values[key])}: it must be {described}.")
    if kind == "sql" and not any(values.get(key) for key in ("expand", "backfill", "contract")):
        raise SeamlessError(f"{where}: it does nothing: give at least one of expand, backfill and contract.")
    return {kind: {key: item for key, item in values.items() if item is not None}}


def _text(value: t.Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _texts(value: t.Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_text, value))


def _mapping(value: t.Any) -> bool:
    return isinstance(value, t.Mapping) and bool(value) and all(_text(key) and _text(item) for key, item in value.items())


def _table(value: t.Any) -> bool:
    return _text(value) or (_texts(value) and len(value) == 2)


def _fits(kind: str, value: t.Any) -> bool:
    checks: dict[str, t.Callable[[t.Any], bool]] = {
        "table": _table,
        "text": _text,
        "sql": lambda item: isinstance(item, (str, int, float, bool)) and item != "",
        "bool": lambda item: isinstance(item, bool),
        "column": lambda item: _text(item) or (_mapping(item) and len(item) == 1),
        "columns": _texts,
        "types": _mapping,
        "expressions": _mapping,
        "references": lambda item: (
            isinstance(item, t.Mapping) and set(item) == {"table", "columns"} and _table(item["table"]) and _texts(item["columns"])
        ),
        "statements": lambda item: _text(item) or _texts(item),
        "fills": lambda item: _texts(item) or (isinstance(item, list) and bool(item) and all(map(_fill, item))) or _fill(item),
        "tables": lambda item: isinstance(item, list) and bool(item) and all(map(_table, item)),
    }
    return checks[kind](value) if kind in checks else value in kind.split("|")


def _fill(value: t.Any) -> bool:
    return (
        isinstance(value, t.Mapping)
        and {"table", "set", "where"} >= set(value) >= {"table", "set"}
        and _table(value["table"])
        and all(_text(value[key]) for key in value if key != "table")
    )
