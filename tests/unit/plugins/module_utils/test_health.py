# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import contextlib
import datetime
import http.server
import json
import socket
import ssl
import threading
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils import _health
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st


class Application(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, body, headers = {
            "/health": (200, json.dumps({"version": "1.2.0", "nodes": [{"up": True}]}), {"X-Version": "1.2.0"}),
            "/down": (503, "draining", {}),
            "/moved": (302, "", {"Location": "/login"}),
            "/text": (200, "not json", {}),
            "/host": (200, self.headers["Host"], {}),
            "/user": (200, self.headers["Authorization"] or "nobody", {"Location": "/login?token=abc"}),
        }[self.path.partition("?")[0]]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *dummy: t.Any) -> None:
        pass


@pytest.fixture(scope="module")
def base() -> t.Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Application)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def probe(**options: t.Any) -> dict[str, t.Any]:
    return _health.probe_once(_health.validate_probes([options]))[0]


@pytest.mark.parametrize(
    ("path", "options", "ok", "detail"),
    [
        ("/health", {}, True, "answered 200"),
        ("/health", {"json": {"version": "1.2.0", "nodes.0.up": True}}, True, ""),
        ("/health", {"json": {"version": "1.3.0"}}, False, "version is '1.2.0', wanted '1.3.0'"),
        ("/health", {"version": {"json": "version", "equals": "1.3.0"}}, False, "served version is '1.2.0', wanted '1.3.0'"),
        ("/health", {"version": {"header": "X-Version", "equals": "1.2.0"}}, True, ""),
        ("/health", {"expect_headers": {"X-Version": "2"}}, False, "header X-Version is '1.2.0'"),
        ("/health", {"contains": "nodes"}, True, ""),
        ("/down", {}, False, "answered 503 Service Unavailable, wanted 200: draining"),
        ("/down", {"status": [503]}, True, ""),
        ("/down", {"status": "5xx"}, True, ""),
        ("/moved", {}, False, "302 Found (to /login)"),
        ("/text", {"json": {"a": 1}}, False, "no JSON"),
    ],
)
def test_http_probes(base: str, path: str, options: dict[str, t.Any], ok: bool, detail: str) -> None:
    result = probe(url=base + path, **options)
    assert result["ok"] is ok
    assert detail in result["detail"]


def test_probes_that_are_not_http(base: str) -> None:
    assert probe(tcp=base.rpartition("/")[2])["ok"]
    assert probe(command="exit 0")["ok"]
    assert "ended with 3: oops" in probe(command="echo oops; exit 3")["detail"]
    assert "no answer within 0.2 s" in probe(command=["sleep", "5"], timeout=0.2)["detail"]
    assert "connection refused" in probe(url="http://127.0.0.1:1/")["detail"]


def test_a_host_header_is_sent_to_a_site_that_is_chosen_by_it(base: str) -> None:
    assert probe(url=f"{base}/host", host_header="shop.example.com", contains="shop.example.com")["ok"]
    assert "does not contain 'shop.example.com': 127.0.0.1" in probe(url=f"{base}/host", contains="shop.example.com")["detail"]


@pytest.mark.parametrize(
    ("user", "headers", "sent"),
    [
        ("mon:s3cret@", {}, "mon:s3cret"),
        ("mon%40ops:s%2F3:t@", {}, "mon@ops:s/3:t"),
        ("mon@", {}, "mon:"),
        ("mon:s3cret@", {"authorization": "Bearer x"}, None),
        ("", {}, None),
    ],
)
def test_the_user_of_a_url_is_sent_unless_a_header_says_who_asks(base: str, user: str, headers: dict[str, str], sent: str | None) -> None:
    said = f"Basic {base64.b64encode(sent.encode()).decode()}" if sent else headers.get("authorization", "nobody")
    url = base.replace("://", f"://{user}") + "/user"
    assert probe(url=url, headers=headers, contains=said)["ok"], probe(url=url, headers=headers, contains=said)
    found = _health.find_version(_health.validate_probes([{"url": base.replace("://", "://mon:s3cret@") + "/health"}])[0], "1.2.0")
    assert {"json": "version"} in found


@pytest.mark.parametrize("options", [{}, {"status": 503}, {"json": {"a": 1}}, {"contains": "more"}, {"headers": {"X-Key": "s3cret\n"}}])
def test_no_secret_of_a_url_is_said(base: str, options: dict[str, t.Any]) -> None:
    url = base.replace("://", "://mon:s3cret@") + "/user?token=abc"
    for asked in (url, "http://mon:s3cret@127.0.0.1:1/user?token=abc"):
        told = json.dumps(probe(url=asked, **options))
        assert not [secret for secret in ("mon", "s3cret", "abc") if secret in told] and "/user" in told


def test_a_header_or_a_host_that_can_not_be_sent_is_a_failure_that_says_so(base: str) -> None:
    assert "has characters that can't be sent" in probe(url=base, headers={"X": "a\n"})["detail"]
    assert "has characters that can't be sent" in probe(url="http://a..b/")["detail"]


def test_a_port_where_nothing_listens_and_one_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "connection refused, nothing listens there" in probe(tcp="127.0.0.1:1")["detail"]

    def silence(*dummy: t.Any, **options: t.Any) -> t.NoReturn:
        assert options["timeout"] == 0.3
        raise socket.timeout

    monkeypatch.setattr(socket, "create_connection", silence)
    result = probe(tcp="192.0.2.1:80", timeout=0.3)
    assert not result["ok"] and result["detail"] == "192.0.2.1:80: no answer within 0.3 s"


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[tuple[str, str]]:
    """An application behind a certificate that it signed itself: its address, and the file of the certificate."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shop")])
    now = datetime.datetime.now(datetime.timezone.utc)
    signed = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    directory = tmp_path_factory.mktemp("tls")
    (directory / "cert.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (directory / "key.pem").write_bytes(private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "cert.pem", directory / "key.pem")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Application)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}", str(directory / "cert.pem")
    server.shutdown()


def test_https_with_a_certificate_of_ones_own(secure: tuple[str, str]) -> None:
    address, certificate = secure
    url = f"https://localhost:{address.rpartition(':')[2]}/health"
    unknown = probe(url=url)
    assert not unknown["ok"] and "certificate verify failed" in unknown["detail"]
    assert probe(url=url, ca_path=certificate, json={"version": "1.2.0"})["ok"]
    assert "certificate is not valid for '127.0.0.1'" in probe(url=f"https://{address}/health", ca_path=certificate)["detail"]
    assert probe(url=f"https://{address}/health", validate_certs=False)["ok"]
    assert not probe(url=url, ca_path=f"{certificate}.not")["ok"]


def test_an_application_that_accepts_and_never_answers() -> None:
    with contextlib.closing(socket.socket()) as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        result = probe(url=f"http://127.0.0.1:{silent.getsockname()[1]}/", timeout=0.3)
    assert "no answer within 0.3 s" in result["detail"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "nothing to check"),
        ({"url": "http://a/", "tcp": "a:1"}, "url and tcp"),
        ({"url": "localhost:80"}, "complete one"),
        ({"url": "http://a/", "statuss": 200}, "Did you mean status"),
        ({"url": "http://a/", "status": 99}, "such as 200"),
        ({"url": "http://host:80a/"}, "url is 'http://host:80a/', and its port is no number up to 65535: use one such as http://127.0.0.1:8000/health."),
        ({"url": "http://host:80000/"}, "no number up to 65535"),
        ({"url": "http://mon:s3/cret@host/?token=x"}, "url is 'http://host/', and its port"),
        ({"url": "http://[::1/"}, "complete one"),
        ({"url": "http://mon:s3cret@/health"}, "url is 'http:///health', use a complete one"),
        ({"url": "mon:s3cret@host/health"}, "url is 'host/health', use a complete one"),
        ({"url": "http://mon:s3cret@host/a b"}, "url is 'http://host/a b', and its path or query has characters that can't be sent"),
        ({"tcp": "a"}, "host:port"),
        ({"url": "http://a/", "timeout": 0}, "seconds above 0"),
        ({"url": "http://a/", "version": {"equals": "1"}}, "one of json"),
    ],
)
def test_probes_that_make_no_sense_are_refused(options: dict[str, t.Any], message: str) -> None:
    with pytest.raises(SeamlessError, match=message):
        _health.validate_probes([options])


class Clock:
    """A clock that only sleeping moves, and a check that follows a script of good and bad rounds."""

    def __init__(self, script: list[bool]) -> None:
        self.now = 0.0
        self.script = script
        self.asked: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def check(self, dummy: t.Any) -> list[dict[str, t.Any]]:
        good = self.script[min(len(self.asked), len(self.script) - 1)]
        self.asked.append(self.now)
        return [{"ok": good, "detail": "fine" if good else "bad", "version": None}]

    def wait(self, **options: t.Any) -> _health.HealthResult:
        return _health.wait_healthy([], clock=lambda: self.now, sleep=self.sleep, check=self.check, **options)


def test_a_failed_round_starts_both_counts_over() -> None:
    clock = Clock([True, True, False, True, True, True])
    result = clock.wait(interval=1, rise=3, deadline=60)
    assert (result.healthy, result.attempts, result.flaps) == (True, 6, 1)


def test_healthy_long_enough_is_not_only_often_enough() -> None:
    result = Clock([True]).wait(interval=1, rise=2, min_healthy_seconds=5, deadline=60)
    assert (result.attempts, result.healthy_for) == (6, 5.0)


def test_a_start_is_noticed_sooner_than_the_interval() -> None:
    result = Clock([False] * 10 + [True]).wait(interval=5, rise=1, deadline=60)
    assert result.elapsed == pytest.approx(1.0)


def test_giving_up_says_what_was_seen_last() -> None:
    result = Clock([False]).wait(interval=1, rise=1, deadline=3)
    assert not result.healthy
    assert "after 3 s: bad" in result.reason
    flapping = Clock([True, False] * 50).wait(interval=1, rise=2, deadline=10)
    assert "failed again each time" in flapping.reason


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(min_value=1, max_value=5))
def test_healthy_always_means_a_row_of_good_rounds(script: list[bool], rise: int) -> None:
    clock = Clock(script)
    result = clock.wait(interval=1, rise=rise, deadline=25)
    rounds = [script[min(number, len(script) - 1)] for number in range(result.attempts)]
    assert result.healthy == (len(rounds) >= rise and all(rounds[-rise:]))


def test_the_module_fails_with_results_and_only_looks_in_check_mode(base: str, perform: t.Any) -> None:
    bad = [{"url": f"{base}/down"}]
    with pytest.raises(SeamlessError, match="not healthy after") as caught:
        perform("health_check", probes=bad, healthy_deadline=0.3, interval=0.1)
    assert caught.value.details["health"][0]["status"] == 503
    assert perform("health_check", check_mode=True, probes=bad)["healthy"] is False
    good = perform("health_check", probes=[{"url": f"{base}/health", "json": {"version": "1.2.0"}}], interval=0.1)
    assert (good["healthy"], good["served_version"], good["attempts"]) == (True, "1.2.0", 3)
