# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""How the modules reach the database: the options that they have in common."""

from __future__ import annotations

import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._migration.database import ConnectSettings, Database, connect
from ansible_collections.seamless.rollout.plugins.module_utils._migration.model import ENGINES, MARIADB

CONNECTION_SPEC: dict[str, t.Any] = {
    "engine": {"type": "str", "choices": list(ENGINES), "default": "postgresql"},
    "login_host": {"type": "str", "default": ""},
    "login_port": {"type": "int"},
    "login_user": {"type": "str", "default": ""},
    "login_password": {"type": "str", "default": "", "no_log": True},
    "login_db": {"type": "str", "required": True, "aliases": ["db", "database"]},
    "login_unix_socket": {"type": "path", "default": ""},
    "ssl_mode": {"type": "str", "choices": ["", "disable", "prefer", "require", "verify-ca", "verify-full"], "default": ""},
    "ca_cert": {"type": "path", "default": "", "aliases": ["ssl_rootcert"]},
    "client_cert": {"type": "path", "default": "", "aliases": ["ssl_cert"]},
    "client_key": {"type": "path", "default": "", "aliases": ["ssl_key"]},
    "session_role": {"type": "str", "default": ""},
    "schema": {"type": "str", "default": ""},
    "config_file": {"type": "path", "default": ""},
    "connect_timeout": {"type": "int", "default": 10},
}


def settings(params: t.Mapping[str, t.Any]) -> ConnectSettings:
    """Return how to connect, from a module's parameters. Raises SeamlessError where they can't go together."""
    engine = params["engine"]
    for option in ("session_role", "schema") if engine == MARIADB else ("config_file",):
        if params[option]:
            raise SeamlessError(f"{option} is {params[option]!r}, which engine: {engine} does not know: leave it out.")
    return ConnectSettings(
        engine=engine,
        database=params["login_db"],
        host=params["login_host"],
        port=params["login_port"] or 0,
        user=params["login_user"],
        password=params["login_password"],
        unix_socket=params["login_unix_socket"],
        ssl_mode=params["ssl_mode"],
        ca_cert=params["ca_cert"],
        client_cert=params["client_cert"],
        client_key=params["client_key"],
        schema=params["schema"],
        role=params["session_role"],
        config_file=params["config_file"],
        connect_timeout=params["connect_timeout"],
    )


def opened(params: t.Mapping[str, t.Any]) -> Database:
    """Return an open connection, to be used in a ``with`` statement. Raises SeamlessError."""
    return connect(settings(params))
