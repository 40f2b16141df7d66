# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import importlib
import json
import sys
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError, explain_os_error

# What is imported here and in what a look at a host needs is paid for by every host each time: what only some need is imported where it is used.
# module name -> module_util that holds its ARGUMENT_SPEC and its run(params, check_mode)
OPERATIONS = {
    "access_log_info": "_access_log",
    "audit_info": "_audit.info",
    "audit_try": "_audit.attempt",
    "floating_ip": "_floating_ip.operation",
    "floating_ip_info": "_floating_ip.info",
    "health_check": "_health_check",
    "lb_info": "_balancer.info",
    "lb_member": "_balancer.member",
    "maintenance": "_maintenance.operation",
    "migration_gate": "_migration.gate_operation",
    "release_floor": "_release.floor",
    "release_info": "_release.info",
    "release_prune": "_release.prune",
    "release_stage": "_release.stage",
    "release_switch": "_release.switch",
    "rollout_lock": "_release.lock",
    "traffic_split": "_balancer.traffic_split",
}

# Packages that only some machines need, each with those that come with it.
APART: dict[str, tuple[str, ...]] = {"_audit": (), "_balancer": (), "_migration": (), "_maintenance": ("_balancer",), "_floating_ip": ("_balancer",)}
RESULT_MARK = "SEAMLESS-RESULT:"


def part_of(operation: str) -> str:
    """Return the package of :data:`APART` that *operation* is in, "" for none."""
    package = OPERATIONS[operation].partition(".")[0]
    return package if package in APART else ""


def load(operation: str) -> t.Any:
    """Return the module_util of *operation*, with its ``ARGUMENT_SPEC`` and ``run``."""
    package = __name__.rpartition(".")[0]
    return importlib.import_module(f"{package}.{OPERATIONS[operation]}")


def perform(request: dict[str, t.Any], attachment: t.BinaryIO | None) -> dict[str, t.Any]:
    """Run one request and return what the module of that name would have returned."""
    params = dict(request["params"])
    if attachment is not None:
        params["_attachment"] = attachment
    try:
        result: dict[str, t.Any] = load(request["operation"]).run(params, request["check_mode"])
    except SeamlessError as exc:
        return {**exc.details, "failed": True, "msg": str(exc)}
    except OSError as exc:
        return {"failed": True, "msg": explain_os_error(exc), "exception": _traceback()}
    except Exception as exc:
        return {
            "failed": True,
            "msg": f"{request['operation']} stopped with an error nobody foresaw: {type(exc).__name__}: {exc}",
            "exception": _traceback(),
        }
    return result


def _traceback() -> str:
    import traceback

    return traceback.format_exc()


def main() -> None:
    """Read a request line (and the attachment behind it) from stdin, write the result line to stdout."""
    source = sys.stdin.buffer
    request = json.loads(source.readline())
    result = perform(request, source if request.get("attachment") else None)
    sys.stdout.write(f"\n{RESULT_MARK}{json.dumps(result)}\n")
    sys.stdout.flush()
