# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import traceback
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError, explain_os_error

Operation = t.Callable[[t.Dict[str, t.Any], bool], t.Dict[str, t.Any]]


def run_module(*, argument_spec: dict[str, t.Any], operation: Operation) -> None:
    """Run *operation* as an Ansible module: the one place where a SeamlessError becomes ``fail_json``.

    *operation* takes the validated parameters and whether check mode is on, and returns the result.
    A ``warnings`` list in the result is shown as warnings.
    """
    module = AnsibleModule(argument_spec=argument_spec, supports_check_mode=True)
    try:
        result = operation(module.params, module.check_mode)
    except SeamlessError as exc:
        details = dict(exc.details)
        for warning in details.pop("warnings", []):
            module.warn(warning)
        module.fail_json(msg=str(exc), **details)
    except OSError as exc:
        module.fail_json(msg=explain_os_error(exc), exception=traceback.format_exc())
    for warning in result.pop("warnings", []):
        module.warn(warning)
    module.exit_json(**result)
