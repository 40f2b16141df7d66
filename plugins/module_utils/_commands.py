# Copyright (c) 2026, Seamless Rollout Contributors
# BSD 2-Clause License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

# This module_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

from __future__ import annotations

import shlex
import subprocess
import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError


def run_command(command: str | t.Sequence[str], option: str, *, program: str = "it", timeout: float = 60) -> str:
    """Run *command*, a line or words, for at most *timeout* seconds and return what it printed. *option* is where a user sets it, *program* what
    has to be installed. Raises SeamlessError where it can't be run or ends with anything but 0."""
    words = shlex.split(command) if isinstance(command, str) else [str(word) for word in command]
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout, check=False)
    except FileNotFoundError as exc:
        raise SeamlessError(f"{words[0]} is not on this machine: install {program}, or set {option}.") from exc
    except subprocess.TimeoutExpired as exc:
        raise SeamlessError(f"{' '.join(words)} did not end within {timeout:g} s.") from exc
    output = done.stdout.decode(errors="replace").strip()
    if done.returncode:
        raise SeamlessError(f"{' '.join(words)} refused with {done.returncode}: {output[-500:]}")
    return output
