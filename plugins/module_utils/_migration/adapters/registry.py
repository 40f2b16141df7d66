# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import difflib

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._migration.adapters.alembic import Alembic
from ansible_collections.seamless.rollout.plugins.module_utils._migration.adapters.base import Adapter
from ansible_collections.seamless.rollout.plugins.module_utils._migration.adapters.command import AnyCommand
from ansible_collections.seamless.rollout.plugins.module_utils._migration.adapters.django import Django
from ansible_collections.seamless.rollout.plugins.module_utils._migration.adapters.flyway import Flyway
from ansible_collections.seamless.rollout.plugins.module_utils._migration.adapters.laravel import Laravel
from ansible_collections.seamless.rollout.plugins.module_utils._migration.adapters.liquibase import Liquibase
from ansible_collections.seamless.rollout.plugins.module_utils._migration.adapters.rails import Rails

ADAPTERS: dict[str, Adapter] = {adapter.name: adapter for adapter in (Alembic(), Django(), Rails(), Laravel(), Flyway(), Liquibase(), AnyCommand())}


def adapter_of(name: str) -> Adapter:
    """Return the adapter of framework *name*. Raises SeamlessError when there is none."""
    if name not in ADAPTERS:
        near = difflib.get_close_matches(name, ADAPTERS, n=1)
        raise SeamlessError(f"framework is {name!r}: there are {', '.join(ADAPTERS)} and sql." + (f" Did you mean {near[0]}?" if near else ""))
    return ADAPTERS[name]
