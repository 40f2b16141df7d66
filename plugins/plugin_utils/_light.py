# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Runs the collection's modules on a host without sending them again every time.

A module's code is the same in every task of a rollout, but Ansible packs it, together with its own library, into some 120 KB
for each task, and the host unpacks and imports it anew. Here the code goes to the host once, into the cache directory of the
user that runs it, under the digest of its own bytes; a task then sends its parameters only. Whatever stands in the way (no
pipelining, async, an unknown interpreter, an old Python, a home that can't be written) leads back to Ansible's own way, with
the same code and the same result.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import shlex
import typing as t
import zipfile

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase
from ansible_collections.seamless.rollout.plugins.module_utils import _operations

_NEEDS_CODE = "SEAMLESS-NEEDS-CODE"
_CACHE = ".cache/seamless-rollout"
_PACKAGE = "ansible_collections/seamless/rollout/plugins/module_utils"

# For looks, which change nothing and need no particular Python: to have Ansible find one on each host takes longer than all the rest.
ANY_PYTHON = "$(command -v python3 || echo /usr/bin/python3)"

_RUNNER = f"""\
import os, sys
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from {_PACKAGE.replace("/", ".")}._operations import main
main()
"""

# Reads the code from stdin, keeps it where the next task finds it (except in check mode or where that is
# impossible) and runs the request that follows it.
_BOOTSTRAP = """\
import io,os,runpy,shutil,sys,tempfile,zipfile
size,keep,target=int(sys.argv[1]),sys.argv[2]=="keep",os.path.join(os.path.expanduser("~"),sys.argv[3])
if sys.version_info<(3,8): sys.exit("Python 3.8 or newer is needed, this is "+sys.version.split()[0])
code,place=sys.stdin.buffer.read(size),None
try:
    if keep:
        os.makedirs(os.path.dirname(target),mode=0o700,exist_ok=True)
        place=tempfile.mkdtemp(prefix="new-",dir=os.path.dirname(target))
except OSError: place=None
temporary=place is None
if temporary: place=tempfile.mkdtemp(prefix="seamless-")
try:
    zipfile.ZipFile(io.BytesIO(code)).extractall(place)
    if not temporary:
        try:
            os.rename(place,target); place=target
        except OSError:
            temporary=True
    sys.dont_write_bytecode=temporary
    sys.argv=[os.path.join(place,"run.py")]
    runpy.run_path(sys.argv[0],run_name="__main__")
finally:
    if temporary: shutil.rmtree(place,ignore_errors=True)
"""


@functools.lru_cache(maxsize=len(_operations.APART) + 1)
def code_archive(part: str = "") -> tuple[str, bytes]:
    """Return the digest and the bytes of the archive of module_utils that run on hosts. Of what is apart only *part* is in it: an application's
    host needs neither the code of databases nor that of balancers."""
    wanted = (part, *_operations.APART.get(part, ()))
    root = os.path.dirname(os.path.abspath(_operations.__file__))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("run.py", (2026, 1, 1, 0, 0, 0)), _RUNNER)
        for directory, subdirectories, names in os.walk(root):
            subdirectories[:] = sorted(name for name in subdirectories if name in wanted or name not in _operations.APART)
            for name in sorted(names):
                if not name.endswith(".py") or name == "_module.py":
                    continue
                path = os.path.join(directory, name)
                member = zipfile.ZipInfo(f"{_PACKAGE}/{os.path.relpath(path, root)}", (2026, 1, 1, 0, 0, 0))
                member.compress_type = zipfile.ZIP_DEFLATED
                with open(path, "rb") as file:
                    archive.writestr(member, file.read())
    data = buffer.getvalue()
    return hashlib.sha256(data).hexdigest()[:32], data


def is_unreachable(result: t.Mapping[str, t.Any]) -> bool:
    """Say whether *result* is of a host that could not be reached, by Ansible's word or as our own tasks put it."""
    return bool(result.get("unreachable") or result.get("unreachable_host"))


def plain(value: t.Any) -> t.Any:
    """Return *value* made of JSON's own types only, with every lazy or tagged container copied."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, t.Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(item) for item in value]
    return str(value)


def _for_controller(spec: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return *spec* with paths as strings: ``~`` means the host's home, not the controller's."""
    result = {}
    for name, option in spec.items():
        copied = dict(option)
        if copied.get("type") == "path":
            copied["type"] = "str"
        if copied.get("elements") == "path":
            copied["elements"] = "str"
        if copied.get("options"):
            copied["options"] = _for_controller(copied["options"])
        result[name] = copied
    return result


class LightAction(ActionBase):  # type: ignore[misc]
    """Action plugin of a module whose code is an operation in ``module_utils``."""

    OPERATION: t.ClassVar[str] = ""
    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        super().run(tmp, task_vars)
        return self.execute(self.OPERATION, self.validated(self.OPERATION, self._task.args), task_vars or {})

    def validated(self, operation: str, args: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        """Return *args* checked against the operation's argument spec, with defaults filled in."""
        validator = ArgumentSpecValidator(_for_controller(_operations.load(operation).ARGUMENT_SPEC))
        result = validator.validate(plain(args))
        if result.error_messages:
            raise AnsibleActionFail(f"{operation}: {'; '.join(result.error_messages)}")
        return dict(result.validated_parameters)

    def execute(
        self, operation: str, params: dict[str, t.Any], task_vars: dict[str, t.Any], attachment: bytes | None = None
    ) -> dict[str, t.Any]:
        """Run *operation* on the task's host and return its result (``failed`` and ``msg`` where it failed).

        Raises AnsibleConnectionFailure when the host can't be reached, unless the variable
        ``seamless_unreachable_fails`` is true: then that is a failure like any other, which ``rescue`` handles.
        """
        try:
            result = self.run_light(operation, params, task_vars, attachment)
            if result is None:
                result = self._run_module(operation, params, task_vars, attachment)
        except AnsibleConnectionFailure as exc:
            if not task_vars.get("seamless_unreachable_fails"):
                raise
            return {"failed": True, "unreachable_host": True, "msg": f"The host can't be reached: {exc}"}
        return result

    def run_light(
        self, operation: str, params: dict[str, t.Any], task_vars: dict[str, t.Any], attachment: bytes | None
    ) -> dict[str, t.Any] | None:
        """Run *operation* by the light transport; return None where that can't be done."""
        interpreter = self._interpreter(task_vars)
        if interpreter is None or self._task.async_val or not self._is_pipelining_enabled("new"):
            return None
        digest, code = code_archive(_operations.part_of(operation))
        request = json.dumps(
            {
                "operation": operation,
                "params": plain(params),
                "check_mode": bool(self._task.check_mode),
                "attachment": attachment is not None,
            }
        ).encode()
        data = request + b"\n" + (attachment or b"")
        place = f"{_CACHE}/{digest}"
        start = f'f="$HOME/{place}/run.py"; [ -f "$f" ] && [ -O "$f" ] && exec {interpreter} -E -s "$f"'
        result = self._exchange(f"{start}; cat >/dev/null; echo {_NEEDS_CODE}", data)
        if result == _NEEDS_CODE:
            keep = "discard" if self._task.check_mode else "keep"
            result = self._exchange(f"exec {interpreter} -E -s -c {shlex.quote(_BOOTSTRAP)} {len(code)} {keep} {place}", code + data)
        return result if isinstance(result, dict) else None

    def _exchange(self, command: str, data: bytes) -> dict[str, t.Any] | str | None:
        """Send *data* to *command* and return the result, or the request for the code, or None if neither came."""
        shell = f"{self._compute_environment_string()} /bin/sh -c {shlex.quote(command)}".strip()
        answer = self._low_level_execute_command(shell, in_data=data)
        for line in reversed(answer["stdout"].splitlines()):
            if line.startswith(_operations.RESULT_MARK):
                loaded: dict[str, t.Any] = json.loads(line[len(_operations.RESULT_MARK):])
                return loaded
            if line.strip() == _NEEDS_CODE:
                return _NEEDS_CODE
        self._display.vvv(f"seamless.rollout: falling back to Ansible's own transport (rc {answer['rc']}): {answer['stderr']}")
        return None

    def _run_module(
        self, operation: str, params: dict[str, t.Any], task_vars: dict[str, t.Any], attachment: bytes | None
    ) -> dict[str, t.Any]:
        args = {name: value for name, value in plain(params).items() if value is not None}
        remote = None
        if attachment is not None:
            if self._connection._shell.tmpdir is None:
                self._make_tmp_path()
            remote = self._connection._shell.join_path(self._connection._shell.tmpdir, "bundle")
            self._transfer_data(remote, attachment)
            self._fixup_perms2((self._connection._shell.tmpdir, remote))
            args["bundle_path"] = remote
        module = f"seamless.rollout.{operation}"
        return dict(
            self._execute_module(module_name=module, module_args=args, task_vars=task_vars, wrap_async=bool(self._task.async_val))
        )

    def _interpreter(self, task_vars: dict[str, t.Any]) -> str | None:
        """Return the host's Python as the user named it or Ansible found it, or None if neither is known yet."""
        delegate = self._task.delegate_to
        scope: t.Mapping[str, t.Any] = task_vars
        if delegate:
            scope = (task_vars.get("ansible_delegated_vars") or {}).get(delegate) or {}
        named = scope.get("ansible_python_interpreter")
        if named:
            named = str(self._templar.template(named))
        if named and not named.startswith("auto"):
            return named
        facts = scope.get("ansible_facts")
        if delegate and facts is None:
            hostvars = task_vars.get("hostvars") or {}
            facts = hostvars[delegate].get("ansible_facts") if delegate in hostvars else None
        found = (facts or {}).get("discovered_interpreter_python")
        return shlex.quote(str(found)) if found else None
