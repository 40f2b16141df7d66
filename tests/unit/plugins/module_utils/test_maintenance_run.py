# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module does around a balancer: first files, records, what is put back after a failure."""

from __future__ import annotations

import json
import os
import pathlib
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from ansible_collections.seamless.rollout.plugins.module_utils._maintenance import operation
from ansible_collections.seamless.rollout.plugins.module_utils._maintenance.base import Balancer
from ansible_collections.seamless.rollout.plugins.module_utils._maintenance.plan import Plan


class Stub(Balancer):
    """A balancer that reads its file when it is told to, and may refuse."""

    config = ("stub.conf",)
    reloads: t.ClassVar[list[str]] = []
    refuses = False

    def render(self, plan: Plan) -> dict[str, bytes]:
        return {"page.html": plan.page, "stub.conf": f"retry {plan.retry_after}\n".encode()}

    def lines(self, header: str) -> dict[str, str]:
        return {"site": "include stub.conf"}

    def take_over(self) -> None:
        with open(self.path("stub.conf"), encoding="utf-8") as file:
            self.reloads.append(file.read().strip())
        if self.refuses and self.reloads[-1] == "retry 60":
            raise SeamlessError("the configuration was refused.")


class Ground:
    def __init__(self, directory: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory = os.path.join(directory, "m")
        self.answer: BaseException | None = None
        monkeypatch.setattr(operation, "open_balancer", Stub)
        monkeypatch.setattr(operation, "verify", self.verify)
        monkeypatch.setattr(Stub, "reloads", [])
        monkeypatch.setattr(Stub, "refuses", False)

    def verify(self, params: dict[str, t.Any], plan: Plan) -> None:
        if self.answer is not None:
            raise self.answer

    def run(self, state: str, *, check_mode: bool = False, **given: t.Any) -> dict[str, t.Any]:
        values = {name: option.get("default") for name, option in operation.ARGUMENT_SPEC.items()}
        own = {"name": "shop", "state": state, "check_url": "http://127.0.0.1/", "state_dir": self.directory, "owner": "shop"}
        return operation.run({**values, **own, **given}, check_mode)

    def files(self) -> dict[str, str]:
        root = pathlib.Path(self.directory, "shop")
        return {path.name: path.read_text() for path in sorted(root.iterdir()) if not path.name.endswith(".lock")} if root.exists() else {}

    @property
    def record(self) -> dict[str, t.Any]:
        return t.cast("dict[str, t.Any]", json.loads(self.files()["record.json"]))


@pytest.fixture
def ground(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Ground:
    return Ground(str(tmp_path), monkeypatch)


def test_the_first_off_writes_the_files_and_says_what_is_to_be_added(ground: Ground) -> None:
    with pytest.raises(SeamlessError, match=r"run this with state: off[^$]*include stub\.conf"):
        ground.run("on")
    assert ground.files() == {}
    result = ground.run("off")
    assert result["changed"] and not result["verified"] and "include stub.conf" in result["warnings"][0]
    assert sorted(ground.files()) == ["page.html", "stub.conf"] and Stub.reloads == []
    assert os.stat(os.path.join(ground.directory, "shop")).st_mode & 0o777 == 0o755


def test_on_and_off_leave_a_record_while_it_lasts_and_reload_only_for_other_texts(ground: Ground) -> None:
    ground.run("off")
    assert ground.run("on", reason="a migration")["verified"]
    assert ground.files()["on"] == "" and (ground.record["owner"], ground.record["state"], ground.record["reason"]) == ("shop", "on", "a migration")
    assert not ground.run("on", reason="a migration")["changed"] and Stub.reloads == []
    assert ground.run("on", reason="a migration", retry_after=60)["changed"] and Stub.reloads == ["retry 60"]
    assert ground.run("off", retry_after=60)["changed"]
    assert sorted(ground.files()) == ["page.html", "stub.conf"] and Stub.reloads == ["retry 60"]
    assert not ground.run("off", retry_after=60)["changed"]


@pytest.mark.parametrize("state", ["on", "off"])
@pytest.mark.parametrize("failure", [SeamlessError("check_url is not as it should be."), OSError("the disk"), KeyboardInterrupt()])
def test_what_is_not_verified_is_put_back(ground: Ground, state: str, failure: BaseException) -> None:
    ground.run("off")
    if state == "off":
        ground.run("on")
    before = ground.files()
    ground.answer = failure
    with pytest.raises((SeamlessError, KeyboardInterrupt)) as caught:
        ground.run(state, title="Another", retry_after=60)
    assert isinstance(failure, KeyboardInterrupt) or "put back as it was" in str(caught.value)
    assert ground.files() == before and Stub.reloads == ["retry 60", "retry 300"]


def test_a_configuration_that_is_refused_is_put_back(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    ground.run("off")
    before = ground.files()
    monkeypatch.setattr(Stub, "refuses", True)
    with pytest.raises(SeamlessError, match="was refused.*put back as it was"):
        ground.run("on", retry_after=60)
    assert ground.files() == before


def test_check_mode_says_what_would_change_and_writes_nothing(ground: Ground) -> None:
    result = ground.run("off", check_mode=True)
    assert result["changed"] and ground.files() == {} and not os.path.exists(ground.directory)
    ground.run("off")
    before = ground.files()
    result = ground.run("on", check_mode=True, retry_after=60)
    assert result["changed"] and ground.files() == before and Stub.reloads == []
    assert [one["after"] for one in result["diff"]] == ["on\n", "retry 60\n"]


def test_what_an_operator_or_somebody_else_closed_is_left_alone(ground: Ground) -> None:
    ground.run("off")
    flag = pathlib.Path(ground.directory, "shop", "on")
    flag.touch()
    result = ground.run("on")
    assert result["operator"] and result["on"] and not result["changed"] and "record.json" not in ground.files()
    with pytest.raises(SeamlessError, match="operator.*force: true"):
        ground.run("off")
    assert flag.exists()
    assert ground.run("on", force=True)["changed"] and ground.record["owner"] == "shop"
    with pytest.raises(SeamlessError, match=r"by shop \("):
        ground.run("off", owner="billing")
    assert ground.run("off", owner="billing", force=True)["changed"] and not flag.exists()


def test_a_window_is_taken_back_by_off_and_taken_over_by_on(ground: Ground) -> None:
    ground.run("off")
    window: dict[str, t.Any] = {"from": "2099-01-01T00:00Z", "until": "2099-01-02T00:00Z"}
    result = ground.run("scheduled", **window)
    assert not result["on"] and (result["from"], result["until"]) == ("2099-01-01T00:00:00Z", "2099-01-02T00:00:00Z")
    assert ground.record["state"] == "scheduled" and "on" not in ground.files()
    assert not ground.run("scheduled", **window)["changed"]
    assert ground.run("on")["changed"] and ground.record["state"] == "on"
    assert ground.run("off")["changed"] and "record.json" not in ground.files()
