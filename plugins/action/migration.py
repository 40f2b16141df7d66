# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import os
import time
import typing as t

import yaml
from ansible import constants
from ansible.errors import AnsibleActionFail, AnsibleError, AnsibleFileNotFound
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible_collections.seamless.rollout.plugins.module_utils._migration.info import ARGUMENT_SPEC
from ansible_collections.seamless.rollout.plugins.plugin_utils._light import plain
from ansible_collections.seamless.rollout.plugins.plugin_utils._progress_text import backfill_text

# Who shows how far a backfill is, and how often it is asked for, in seconds.
WATCHER, LOOK = "seamless.rollout.progress", 5.0


class ActionModule(ActionBase):
    """Reads the migration's file, since hosts need no YAML library, and runs the module, in the background where the task says async."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result = super().run(tmp, task_vars)
        args = plain(self._task.args)
        src = args.pop("src", None)
        remote = boolean(args.pop("remote_src", None) or False)
        if src:
            if args.get("spec"):
                raise AnsibleActionFail("Both src and spec are set: give the migration once.")
            args["spec"] = self._parsed(src, self._remote(src, task_vars or {}) if remote else self._local(src))
            args["name"] = args.get("name") or os.path.splitext(os.path.basename(src))[0]
        wrap_async = bool(self._task.async_val) and not self._connection.has_native_async
        result.update(self._execute_module(module_name="seamless.rollout.migration", module_args=args, task_vars=task_vars, wrap_async=wrap_async))
        if not wrap_async:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        elif self._task.poll and getattr(constants, "DEFAULT_STDOUT_CALLBACK", "") == WATCHER and result.get("ansible_job_id"):
            self._tell_how_far(args, task_vars or {})
        return dict(result)

    def _tell_how_far(self, args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> None:
        """Say how far the backfills of the migration are, as long as it has some under way. Ansible waits for its end afterwards, as ever."""
        asked = {key: value for key, value in args.items() if key in ARGUMENT_SPEC}
        asked["app"] = asked.get("app") or (args.get("spec") or {}).get("app")
        deadline = time.monotonic() + float(self._task.async_val) - LOOK
        pause = min(float(self._task.poll), LOOK)
        while time.monotonic() < deadline:
            time.sleep(pause)
            pause = LOOK
            try:
                told = self._execute_module(module_name="seamless.rollout.migration_info", module_args={**asked, "events": 0}, task_vars=task_vars)
            except AnsibleError:
                return
            fills = [fill for migration in told.get("migrations") or [] for fill in migration["fills"] if not fill["done"]]
            if not fills or not (told.get("running") or {}).get(asked["app"]):
                return
            for fill in fills:
                self._display.display(backfill_text(str(asked.get("name")), fill))

    def _local(self, src: str) -> str:
        """Return the text of *src* on the controller, decrypted where it is a vault."""
        try:
            path = self._loader.get_real_file(self._find_needle("migrations", src))
            try:
                with open(path, encoding="utf-8") as file:
                    return file.read()
            finally:
                self._loader.cleanup_tmp_file(path)
        except AnsibleFileNotFound:
            raise AnsibleActionFail(
                f"src: {src} is not on the controller: give a path that is absolute, beside the playbook or in migrations/ there, or set remote_src: true "
                "for a file of the host."
            ) from None
        except (AnsibleError, OSError, UnicodeDecodeError) as exc:
            raise AnsibleActionFail(f"src: {src} can't be read on the controller: {exc}") from exc

    def _remote(self, src: str, task_vars: dict[str, t.Any]) -> str:
        """Return the text of *src* on the host."""
        answer = self._execute_module(module_name="ansible.builtin.slurp", module_args={"src": src}, task_vars=task_vars)
        if answer.get("failed"):
            raise AnsibleActionFail(f"src: {src} can't be read on the host: {answer.get('msg')}")
        try:
            return base64.b64decode(answer["content"]).decode()
        except UnicodeDecodeError as exc:
            raise AnsibleActionFail(f"src: {src} is no text: {exc}") from exc

    def _parsed(self, src: str, text: str) -> dict[str, t.Any]:
        try:
            data = yaml.safe_load(text)
        except yaml.YAMLError as exc:
            raise AnsibleActionFail(f"src: {src} is no valid YAML: {exc}") from exc
        if not isinstance(data, dict):
            raise AnsibleActionFail(f"src: {src} must be a mapping with app, release and operations, and it is {type(data).__name__}.")
        return t.cast("dict[str, t.Any]", plain(data))
