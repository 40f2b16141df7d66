# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Says which values are no templates at all, and what a template depends on, so that it need not be rendered for each of 1,000 hosts.

Whatever is not surely known here (another lookup, a macro, ``hostvars``, a filter that could be random) is rendered for every host.
"""

from __future__ import annotations

import functools
import typing as t

import jinja2
from jinja2 import nodes

_MARKS = ("{{", "{%", "{#")
_LOOKUPS = ("lookup", "query", "q")
_NODES = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.Filter, nodes.Call, nodes.Getattr, nodes.Getitem, nodes.CondExpr,
    nodes.Compare, nodes.Operand, nodes.Not, nodes.And, nodes.Or, nodes.Concat, nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.List,
    nodes.Tuple, nodes.Dict, nodes.Pair, nodes.Keyword,
)
_FILTERS = ("default", "d", "int", "float", "string", "bool", "lower", "upper", "trim", "replace", "join", "first", "last", "list", "length", "ternary")
# A structure with more values than this is compared more slowly than it is rendered.
_MOST = 200


def is_static(value: t.Any) -> bool:
    """Say whether *value* is the same for Ansible whether it is rendered or not."""
    if value is None or isinstance(value, (bool, int, float)):
        return True
    if isinstance(value, str):
        return not value.startswith("#jinja2:") and not any(mark in value for mark in _MARKS)
    if isinstance(value, dict):
        return all(is_static(key) and is_static(item) for key, item in value.items())
    return isinstance(value, (list, tuple)) and all(is_static(item) for item in value)


@functools.lru_cache(maxsize=512)
def _names(text: str) -> tuple[str, ...] | None:
    """Return the variables that template *text* reads, or None where it may depend on something else."""
    if text.startswith("#jinja2:"):
        return None
    try:
        tree = jinja2.Environment().parse(text)
    except jinja2.TemplateError:
        return None
    callees = set()
    for node in tree.find_all(nodes.Node):
        if not isinstance(node, _NODES) or (isinstance(node, nodes.Filter) and node.name not in _FILTERS):
            return None
        if isinstance(node, nodes.Call):
            constant = all(isinstance(argument, nodes.Const) for argument in node.args) and not (node.kwargs or node.dyn_args or node.dyn_kwargs)
            plain_call = isinstance(node.node, nodes.Name) and node.node.name in _LOOKUPS
            if not (constant and plain_call and node.args and node.args[0].as_const() in ("env", "ansible.builtin.env")):
                return None
            callees.add(id(node.node))
    return tuple(sorted({node.name for node in tree.find_all(nodes.Name) if id(node) not in callees}))


def fingerprint(value: t.Any, variables: t.Mapping[str, t.Any]) -> t.Any:
    """Return a hashable that is equal for two hosts only if *value* renders to the same with the *variables* of both, or None if that is not known."""
    found: list[t.Any] = []
    return tuple(found) if _collect(value, variables, found, set()) else None


def _collect(value: t.Any, variables: t.Mapping[str, t.Any], found: list[t.Any], seen: set[str]) -> bool:
    if len(found) > _MOST:
        return False
    if value is None or isinstance(value, (bool, int, float)):
        found.append((type(value).__name__, value))
        return True
    if isinstance(value, str):
        found.append(str(value))
        names = () if is_static(value) else _names(str(value))
        return names is not None and all(_collect_variable(name, variables, found, seen) for name in names)
    if isinstance(value, dict):
        found.append(("dict", len(value)))
        return len(value) <= _MOST and all(_collect(part, variables, found, seen) for item in value.items() for part in item)
    if isinstance(value, (list, tuple)):
        found.append(("list", len(value)))
        return len(value) <= _MOST and all(_collect(item, variables, found, seen) for item in value)
    return False


def _collect_variable(name: str, variables: t.Mapping[str, t.Any], found: list[t.Any], seen: set[str]) -> bool:
    if name in seen:
        return True
    seen.add(name)
    found.append(("variable", name))
    return name in variables and _collect(variables[name], variables, found, seen)
