# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What community.general.haproxy says of things that went wrong, and what lb_member says of the same."""

from __future__ import annotations

import json
import os
import re
import subprocess
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from fleet.fleet import REPO

from integration.balancer.lab import Lab

Said = t.Dict[str, t.Any]


def theirs(lab: Lab, **options: t.Any) -> Said:
    """Run community.general.haproxy on this machine and return what it returned."""
    options = {"backend": "shop", "socket": lab.path("admin.sock"), "wait_interval": 1, "wait_retries": 2, **options}
    environment = {
        **os.environ, "ANSIBLE_COLLECTIONS_PATH": os.path.join(REPO, "build", "deps"), "ANSIBLE_LOAD_CALLBACK_PLUGINS": "1",
        "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.minimal", "ANSIBLE_LOCALHOST_WARNING": "False", "ANSIBLE_INVENTORY_UNPARSED_WARNING": "False",
    }
    command = ["ansible", "localhost", "-c", "local", "-m", "community.general.haproxy", "-a", json.dumps(options)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, check=False)
    answer = re.search(r"^localhost \| (\S+) => (\{.*^\})", done.stdout, re.MULTILINE | re.DOTALL)
    assert answer, done.stdout
    return {"failed": answer[1].startswith("FAILED"), **json.loads(answer[2])}


def ours(call: t.Callable[[], object]) -> str:
    try:
        call()
    except SeamlessError as exc:
        return str(exc)
    return ""


def mistyped(lab: Lab) -> tuple[Said, str]:
    return theirs(lab, state="disabled", host="s11", drain=True), ours(lambda: lab.drain("s11"))


def no_permission(lab: Lab) -> tuple[Said, str]:
    socket = lab.path("operator.sock")
    return theirs(lab, state="disabled", host="s1", drain=True, socket=socket), ours(lambda: lab.drain("s1", socket=[socket]))


def dead_application(lab: Lab) -> tuple[Said, str]:
    """Out, dead and back. In maintenance nobody checks, so what HAProxy says of it at once is old."""
    lab.ask("set server shop/s1 state maint")
    lab.kill("s1")
    said = theirs(lab, state="enabled", host="s1", wait=True)
    lab.start("s1")
    lab.wait(lambda: lab.standing()["shop/s1"] == "UP")
    lab.call("lb_member", "s1", state="maintenance")
    lab.kill("s1")
    return said, ours(lambda: lab.enable("s1", enable_timeout=1))


def down_server(lab: Lab) -> tuple[Said, str]:
    """A server that is down is to be drained: there is nothing to wait for."""
    lab.kill("s1")
    lab.wait(lambda: lab.standing()["shop/s1"] == "DOWN")
    said = ours(lambda: lab.drain("s1"))
    lab.ask("set server shop/s1 state ready")
    return theirs(lab, state="disabled", host="s1", drain=True, wait=True), said


@pytest.mark.parametrize(
    ("fault", "they_fail", "we_say"),
    [
        (mistyped, False, "s11 is not a server of .*Did you mean s1"),
        (no_permission, False, "needs 'level admin'"),
        (dead_application, False, "s1 .*its checks do not pass, so it was not enabled"),
        (down_server, True, ""),
    ],
    ids=["mistyped server", "no permission", "dead application", "DOWN server with wait"],
)
def test_what_goes_wrong_in_silence_elsewhere_is_a_clear_error_here(
    lab: Lab, fault: t.Callable[[Lab], tuple[Said, str]], they_fail: bool, we_say: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said, sentence = fault(lab)
    with capsys.disabled():
        print(f"\n  theirs: {'failed' if said['failed'] else 'ok'}, {str(said.get('msg') or said.get('stats') or said)[:100]}\n  ours:   {sentence or 'done'}")
    assert said["failed"] is they_fail, said
    assert re.search(we_say, sentence) if we_say else not sentence, sentence
