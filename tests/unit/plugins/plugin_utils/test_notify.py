# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Notifications: what is refused, what each service gets, and what becomes of it with receivers that fail in every way."""

from __future__ import annotations

import http.server
import json
import socket
import threading
import typing as t

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from ansible_collections.seamless.rollout.plugins.plugin_utils import _notifier, _notify
from ansible_collections.seamless.rollout.plugins.plugin_utils import _notify_sender as sender
from hypothesis import given
from hypothesis import strategies as st

SECRET = "T0KEN-that-nobody-may-see"


def news(event: str = "end", **changes: t.Any) -> dict[str, t.Any]:
    host = {"state": "done", "from": "1.0", "to": "2.0", "detail": "", "drained": False, "seconds_out": 2.5}
    return {
        "event": event, "id": "20261122T101500Z-a1b2c3", "app": "shop", "release": "2.0", "mode": "release", "state": "succeeded", "why": "",
        "owner": "ann@desk", "reason": "", "started_at": "2026-11-22T10:15:00Z", "finished_at": "2026-11-22T10:16:00Z", "seconds": 60.0,
        "hosts": {"web1": host, "web2": host}, "canary": None, **changes,
    }


def slack_takes(body: t.Any) -> None:
    """What Slack's documentation demands of a message with blocks."""
    assert isinstance(body["text"], str) and 0 < len(body["text"]) <= 40000 and 0 < len(body["blocks"]) <= 50
    for block in body["blocks"]:
        assert block["type"] in ("header", "section")
        if block["type"] == "header":
            assert block["text"]["type"] == "plain_text" and 0 < len(block["text"]["text"]) <= 150
        else:
            assert "text" in block or "fields" in block
            for text, most in [(block["text"], 3000)] if "text" in block else [(field, 2000) for field in block["fields"]]:
                assert text["type"] == "mrkdwn" and 0 < len(text["text"]) <= most
            assert len(block.get("fields", [])) <= 10


def teams_takes(body: t.Any) -> None:
    assert body["type"] == "message" and len(json.dumps(body).encode()) <= 28 * 1024
    (attachment,) = body["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    card = attachment["content"]
    assert card["type"] == "AdaptiveCard" and float(card["version"]) <= 1.5 and card["body"] and "@type" not in body
    for element in card["body"]:
        assert element["type"] in ("TextBlock", "FactSet")
        assert element["text"] if element["type"] == "TextBlock" else all(set(fact) == {"title", "value"} for fact in element["facts"])


def mattermost_takes(body: t.Any) -> None:
    assert body["text"] and len(body["text"]) <= 16383 and len(json.dumps(body["attachments"])) <= 7600 * 4
    for attachment in body["attachments"]:
        assert attachment["fallback"] and attachment["color"].startswith("#")
        assert all(isinstance(field["short"], bool) and field["title"] for field in attachment["fields"])


def webhook_takes(body: t.Any) -> None:
    wanted = {"event", "id", "app", "release", "mode", "state", "why", "owner", "reason", "started_at", "finished_at", "seconds", "hosts", "canary", "text"}
    assert set(body) == wanted and body["event"] in _notify.EVENTS


TAKES = {"webhook": webhook_takes, "slack": slack_takes, "teams": teams_takes, "mattermost": mattermost_takes}
STATES = st.sampled_from(["running", "paused", "rolling_back", "succeeded", "failed", "rolled_back", "aborted"])


@given(
    kind=st.sampled_from(sorted(TAKES)), event=st.sampled_from(_notify.EVENTS), state=STATES, why=st.text(max_size=20000), owner=st.text(max_size=3000),
    release=st.one_of(st.none(), st.text(min_size=1, max_size=128)), reason=st.text(max_size=200),
)
def test_whatever_happens_each_service_gets_what_it_takes(kind: str, event: str, state: str, **changes: t.Any) -> None:
    TAKES[kind](_notify.payload({"type": kind, "url": "x"}, news(event, state=state, **changes)))


def test_the_words_are_those_of_the_event_or_the_users_own() -> None:
    assert _notify.headline(news()) == "shop 2.0: rollout succeeded"
    assert _notify.headline(news("failure", state="rolling_back")) == "shop 2.0: rollout failing, going back"
    own = {"type": "slack", "url": "https://x.example", "text": "<{app}> {state} on {hosts}, {release}"}
    assert not _notify.problems([own])
    assert "&lt;shop&gt; succeeded on web1, web2, 2.0" in json.dumps(_notify.payload(own, news()))


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"type": "slak", "url": "https://x.example"}, "rollout_notify[0].type is 'slak': use one of webhook, slack, teams, mattermost, mail. Did"),
        ({"type": "slack"}, "rollout_notify[0].url is not set: slack needs the address to post to"),
        ({"type": "slack", "url": f"hooks.example.com/{SECRET}"}, "rollout_notify[0].url is not a complete address"),
        ({"type": "slack", "url": "https://x.example", "events": ["finish"]}, "rollout_notify[0].events has 'finish': the events are start,"),
        ({"type": "slack", "url": "https://x.example", "events": []}, "rollout_notify[0].events is []"),
        ({"type": "slack", "url": "https://x.example", "header": {}}, "rollout_notify[0] has 'header', which means nothing for slack. Did you mean headers?"),
        ({"type": "webhook", "url": "https://x.example", "headers": {"A": "b\r\nC: d"}}, "rollout_notify[0].headers is not a dictionary of texts"),
        ({"type": "webhook", "url": "https://x.example", "text": "{relase}"}, "rollout_notify[0].text has {relase}"),
        ({"type": "webhook", "url": "https://x.example", "text": "{app"}, "rollout_notify[0].text is '{app', which can't be read"),
        ({"type": "mail", "to": "ops", "from": "a@b.example"}, "rollout_notify[0].to is 'ops'"),
        ({"type": "mail", "to": "o@b.example"}, "rollout_notify[0].from is None"),
        ({"type": "mail", "to": "o@b.example", "from": "a@b.example", "tls": "ssl"}, "rollout_notify[0].tls is 'ssl': use one of try, starttls, tls, none."),
        ({"type": "mail", "to": "o@b.example", "from": "a@b.example", "username": "u"}, "rollout_notify[0] has only one of username and password"),
    ],
)
def test_what_is_wrong_is_said_with_its_place_and_no_secret(entry: dict[str, t.Any], said: str) -> None:
    (problem,) = _notify.problems([entry])
    assert problem.startswith(said) and SECRET not in problem


def test_without_requests_it_is_refused_before_anything_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_notify, "has_requests", lambda: False)
    assert "pip install requests" in _notify.problems([{"type": "slack", "url": "https://x.example"}])[0]
    assert not _notify.problems([{"type": "mail", "to": "o@b.example", "from": "a@b.example"}])


class Receiver:
    """A real HTTP server that answers as told, one answer after another, the last one for ever."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str]]] = [(200, {})]
        self.got: list[tuple[str, dict[str, str], t.Any]] = []
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.got.append((self.path, dict(self.headers), body))
                status, headers = receiver.answers.pop(0) if len(receiver.answers) > 1 else receiver.answers[0]
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                said = f"no to {self.path} {self.headers.get('Authorization')}".encode()
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *dummy: t.Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def receiver() -> t.Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def deliver(tmp_path: t.Any) -> t.Callable[..., list[dict[str, t.Any]]]:
    """Deliver one notification of an entry and return the lines that were written of it. Pauses are noted in them instead of being made."""

    def run(entry: dict[str, t.Any], **changes: t.Any) -> list[dict[str, t.Any]]:
        record = tmp_path / "notifications.jsonl"
        assert not _notify.problems([entry])
        order = {**_notifier._order(entry, 0, news(), str(record)), **changes}
        pauses: list[float] = []
        sent = sender.deliver(order, pauses.append)
        text = record.read_text()
        assert SECRET not in text
        lines = [json.loads(line) for line in text.splitlines()]
        assert lines[-1]["state"] == ("sent" if sent else "failed")
        return [*lines, {"pauses": pauses}]

    return run


def test_it_is_tried_again_until_it_is_taken(receiver: Receiver, deliver: t.Any) -> None:
    receiver.answers = [(500, {}), (429, {"Retry-After": "7"}), (200, {})]
    *lines, last = deliver({"type": "slack", "url": f"{receiver.url}/services/{SECRET}"})
    assert [line["state"] for line in lines] == ["retried", "retried", "sent"] and last["pauses"] == [1.0, 7.0]
    assert [path for path, dummy, dummy in receiver.got] == [f"/services/{SECRET}"] * 3
    slack_takes(receiver.got[-1][2])


def test_a_refusal_is_not_tried_again_and_what_it_repeats_is_no_secret(receiver: Receiver, deliver: t.Any) -> None:
    receiver.answers = [(403, {})]
    line, last = deliver({"type": "webhook", "url": f"{receiver.url}/{SECRET}?key={SECRET}", "headers": {"Authorization": f"Bearer {SECRET}"}})
    assert line["state"] == "failed" and line["detail"].startswith("answered 403 no to ***") and last["pauses"] == []
    assert receiver.got[0][1]["Authorization"] == f"Bearer {SECRET}"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(receiver: Receiver, deliver: t.Any, status: int) -> None:
    other = Receiver()
    try:
        receiver.answers = [(status, {"Location": f"{other.url}/{SECRET}"})]
        line, dummy = deliver({"type": "webhook", "url": receiver.url, "headers": {"Authorization": SECRET}})
        assert line["state"] == "failed" and "it redirects, which is not followed" in line["detail"] and other.got == []
    finally:
        other.server.shutdown()
        other.server.server_close()


def test_nobody_there_is_tried_as_often_as_is_sensible(deliver: t.Any) -> None:
    *lines, last = deliver({"type": "webhook", "url": f"http://127.0.0.1:{free_port()}/"})
    assert len(lines) == sender.TRIES and lines[-1]["detail"] == "ConnectionError" and last["pauses"] == [1, 2, 4, 8, 16, 32, 60]


def test_a_receiver_that_hangs_or_drips_costs_one_try(deliver: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "ONE_TRY", 1)
    monkeypatch.setattr(sender, "TRIES", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        line, dummy = deliver({"type": "webhook", "url": url})
        assert line == {**line, "state": "failed", "detail": "no answer within 1 s"}


class Mails:
    def __init__(self) -> None:
        self.got: list[t.Any] = []
        self.codes: list[str] = []

    async def handle_DATA(self, server: t.Any, session: t.Any, envelope: t.Any) -> str:
        if self.codes:
            return self.codes.pop(0)
        self.got.append(envelope)
        return "250 OK"


def free_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


@pytest.fixture
def mails() -> t.Iterator[tuple[Mails, int]]:
    """A real mail server, and its port."""

    def checked(server: t.Any, session: t.Any, envelope: t.Any, mechanism: str, data: t.Any) -> AuthResult:
        return AuthResult(success=data.password == SECRET.encode())

    handler, port = Mails(), free_port()
    controller = Controller(handler, hostname="127.0.0.1", port=port, authenticator=checked, auth_require_tls=False)
    controller.start()
    yield handler, port
    controller.stop()


def test_a_mail_arrives_with_what_happened_to_each_host(mails: tuple[Mails, int], deliver: t.Any) -> None:
    handler, port = mails
    handler.codes = ["451 later"]
    mail = {"type": "mail", "to": ["ops@example.com", "dev@example.com"], "from": "rollout@example.com", "server": "127.0.0.1", "port": port}
    *lines, dummy = deliver(mail)
    assert [line["state"] for line in lines] == ["retried", "sent"]
    (envelope,) = handler.got
    text = envelope.content.decode()
    assert envelope.rcpt_tos == mail["to"] and "Subject: shop 2.0: rollout succeeded" in text and "web1  done  1.0 -> 2.0" in text


def test_a_password_is_not_sent_where_nothing_hides_it(mails: tuple[Mails, int], deliver: t.Any) -> None:
    handler, port = mails
    mail = {
        "type": "mail", "to": "ops@example.com", "from": "rollout@example.com", "server": "127.0.0.1", "port": port, "username": "u",
        "password": SECRET,
    }
    line, dummy = deliver(mail)
    assert line["state"] == "failed" and "no encryption" in line["detail"] and not handler.got
    *lines, dummy = deliver({**mail, "tls": "none"})
    assert lines[-1]["state"] == "sent" and len(handler.got) == 1


def test_a_mail_that_is_refused_is_not_sent_again(mails: tuple[Mails, int], deliver: t.Any) -> None:
    handler, port = mails
    handler.codes = ["550 no such user"]
    line, last = deliver({"type": "mail", "to": "ops@example.com", "from": "r@example.com", "server": "127.0.0.1", "port": port})
    assert line["state"] == "failed" and last["pauses"] == [] and not handler.got


def test_what_is_on_its_way_is_waited_for_a_moment_only(tmp_path: t.Any) -> None:
    entry = {"type": "webhook", "url": f"https://hooks.example.com/{SECRET}", "name": "the channel"}
    order = _notifier._order(entry, 0, news(), str(tmp_path / "notifications.jsonl"))
    facts = {"state_dir": str(tmp_path), "id": news()["id"]}
    assert _notifier.unfinished_business(facts, patience=0) == []
    sender.note(order, "queued")
    waits: list[float] = []
    assert _notifier.unfinished_business(facts, patience=0.0, sleep=waits.append) == ["the channel has not taken the message of its end yet"] and not waits
    sender.note(order, "retried", tries=1, detail="ConnectTimeout")
    assert _notifier.unfinished_business(facts, patience=0) == ["the channel has not taken the message of its end yet (ConnectTimeout); it is tried again"]
    sender.note(order, "failed", tries=8, detail="ConnectTimeout")
    assert _notifier.unfinished_business(facts, patience=9) == ["the channel could not be told of the end: ConnectTimeout"]
    assert _notifier.unfinished_business({**facts, "id": "another"}) == []


def test_the_process_that_sends_gets_nothing_secret_in_its_arguments(receiver: Receiver, tmp_path: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    popen = _notifier.subprocess.Popen

    def spying(command: list[str], **options: t.Any) -> t.Any:
        started.append((command, options))
        started[-1][1]["process"] = made = popen(command, **options)
        return made

    monkeypatch.setattr(_notifier.subprocess, "Popen", spying)
    order = _notifier._order({"type": "webhook", "url": f"{receiver.url}/{SECRET}"}, 0, news(), str(tmp_path / "notifications.jsonl"))
    _notifier.hand_over(order)
    ((command, options),) = started
    assert options["process"].wait(60) == 0 and SECRET not in " ".join(command) and "env" not in options and options["start_new_session"]
    assert _notifier.unfinished_business({"state_dir": str(tmp_path), "id": news()["id"]}) == []
    webhook_takes(receiver.got[0][2])
