# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.seamless.rollout.plugins.module_utils._balancer import aws_target_group, cloud

from conformance.fakes.aws_target_group import KEY, Client, arn
from conformance.subject import ADMIN
from conformance.subjects.clouds import LEAVES_NOTHING, ONE_API
from conformance.subjects.fake import FakeSubject


class AwsTargetGroupSubject(FakeSubject):
    driver = "aws_target_group"
    title = "AWS target group (fake)"
    fake = "aws_target_group"
    keeps_state = True
    limits: t.Mapping[str, str] = {
        "weight": "a target has none",
        "operator's maintenance": LEAVES_NOTHING,
        "second balancer unreachable": ONE_API,
    }

    def start(self) -> None:
        cloud.PAUSE = 0.1
        aws_target_group.connect = lambda params, region: Client(f"http://127.0.0.1:{ADMIN}", params["username"])
        super().start()

    def params(self) -> dict[str, t.Any]:
        return {"backend": [arn("app"), arn("api")], "username": KEY}

    def app_only(self) -> dict[str, t.Any]:
        return {"backend": [arn("app")]}

    def wrong_credentials(self) -> dict[str, t.Any]:
        return {"username": "guess"}
