# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.plugin_utils import _signals
from ansible_collections.seamless.rollout.plugins.plugin_utils._ledger import Ledger

SIGNALLED = """
    import os, signal, sys, time
    from ansible_collections.seamless.rollout.plugins.plugin_utils import _signals
    for rollout in sys.argv[2:]:
        _signals.install(sys.argv[1], rollout)
    child = os.fork()
    if not child:
        time.sleep(60)
        os._exit(0)
    print(child, flush=True)
    while True:
        time.sleep(0.05)
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, -signal.SIGINT)])
def test_the_first_signal_is_an_order_to_stop_and_the_second_ends_the_process(tmp_path: t.Any, number: signal.Signals, code: int) -> None:
    ledger = Ledger(str(tmp_path))
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SIGNALLED), str(tmp_path), "r"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )
    assert process.stdout is not None and process.stderr is not None
    child = int(process.stdout.readline() or process.stderr.read())
    try:
        os.kill(child, signal.SIGINT)
        process.send_signal(number)
        deadline = time.monotonic() + 20
        while not ledger.orders("r") and time.monotonic() < deadline:
            time.sleep(0.05)
        assert [(order["verb"], order["by"]) for order in ledger.orders("r")] == [("stop", number.name)]
        assert process.poll() is None, "what is in flight is finished"
        os.kill(child, 0)
        assert "no further host starts" in process.stderr.readline()
        process.send_signal(number)
        assert process.wait(20) == code or number == signal.SIGINT and process.returncode == 1
        assert len(ledger.orders("r")) == 1
    finally:
        os.kill(child, signal.SIGTERM)
        process.kill()
        process.wait()


def test_only_the_main_thread_installs_handlers_and_gives_them_back(tmp_path: t.Any) -> None:
    # Whoever runs the tests in the background has the signal ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    before = [signal.getsignal(number) for number in _signals.SIGNALS]
    thread = threading.Thread(target=_signals.install, args=(str(tmp_path), "r"))
    thread.start()
    thread.join()
    assert [signal.getsignal(number) for number in _signals.SIGNALS] == before
    _signals.install(str(tmp_path), "r")
    ours = [signal.getsignal(number) for number in _signals.SIGNALS]
    _signals.install(str(tmp_path), "another")
    assert [signal.getsignal(number) for number in _signals.SIGNALS] == ours != before
    _signals.restore()
    assert [signal.getsignal(number) for number in _signals.SIGNALS] == before


def begin(ledger: Ledger, rollout: str) -> None:
    fields = {"app": "shop", "release": rollout, "mode": "release", "state": "planned", "reason": "", "owner": "o", "controller": "c"}
    ledger.begin({"id": rollout, **fields, "pid": 1, "process_start": "", "started_at": 1.0})


def signalled(ledger: Ledger, directory: str, *rollouts: str, number: signal.Signals = signal.SIGTERM) -> int | None:
    """Send a signal to a process that has installed the handlers for *rollouts*, one after another; return how it ended, or None if it goes on."""
    command = [sys.executable, "-c", textwrap.dedent(SIGNALLED), directory, *rollouts]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    child = int(process.stdout.readline() or process.stderr.read())
    try:
        process.send_signal(number)
        deadline = time.monotonic() + 20
        while process.poll() is None and not any(ledger.orders(rollout) for rollout in rollouts) and time.monotonic() < deadline:
            time.sleep(0.05)
        return process.poll()
    finally:
        os.kill(child, signal.SIGTERM)
        process.kill()
        process.wait()


def test_the_second_rollout_of_one_run_hears_the_signal_and_not_the_first(tmp_path: t.Any) -> None:
    ledger = Ledger(str(tmp_path))
    begin(ledger, "first")
    ledger.set_state("first", "succeeded")
    begin(ledger, "second")
    assert signalled(ledger, str(tmp_path), "first", "second") is None
    assert (len(ledger.orders("first")), [order["verb"] for order in ledger.orders("second")]) == (0, ["stop"])


@pytest.mark.parametrize("ending", ["succeeded", "paused"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_rollout_that_is_over_swallows_no_signal(tmp_path: t.Any, ending: str, number: signal.Signals) -> None:
    ledger = Ledger(str(tmp_path))
    begin(ledger, "r")
    ledger.set_state("r", ending)
    ledger.leave("r")
    assert signalled(ledger, str(tmp_path), "r", number=number) in (-number, 1)
    assert not ledger.orders("r")


def test_a_rollout_that_takes_no_further_host_and_still_works_on_some_hears_the_signal(tmp_path: t.Any) -> None:
    ledger = Ledger(str(tmp_path))
    begin(ledger, "r")
    ledger.set_state("r", "paused", halted="web1 failed")
    assert signalled(ledger, str(tmp_path), "r") is None
    assert len(ledger.orders("r")) == 1
