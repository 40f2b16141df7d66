# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Sends one notification, in a process of its own that nobody waits for: ``python _notify_sender.py`` with the order as JSON on standard input.

Imports nothing of the collection: it is run as a file. It tries again after failures that may pass, and writes what became of it to a file, in which no
address, header or password ever stands.
"""

from __future__ import annotations

import email.message
import email.utils
import json
import os
import signal
import smtplib
import ssl
import sys
import time
import typing as t
import urllib.parse

# Seconds for one try, between tries at most, and in all; and how many tries.
ONE_TRY, LONGEST_PAUSE, IN_ALL, TRIES = 20, 60.0, 600, 8
CONNECT, READ = 5.0, 10.0


class LastingError(Exception):
    """What will not pass by itself."""


class PassingError(Exception):
    """What may pass: try again, after *wait* seconds where the receiver says so."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


def _context(order: t.Mapping[str, t.Any]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=order.get("ca_path") or None)
    if not order.get("validate_certs", True):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def post(order: t.Mapping[str, t.Any]) -> str:
    """Post the payload. A redirect is not followed: whatever is secret would go to whom the answer names."""
    import requests

    verify = (order.get("ca_path") or True) if order.get("validate_certs", True) else False
    headers = {"User-Agent": "seamless.rollout", **order["headers"]}
    try:
        with requests.post(
            order["url"], json=order["payload"], headers=headers, timeout=(CONNECT, READ), allow_redirects=False, stream=True, verify=verify
        ) as answer:
            status, told = answer.status_code, next(answer.iter_content(300), b"").decode(errors="replace").strip()
            wait = answer.headers.get("Retry-After", "")
    except (requests.exceptions.InvalidURL, requests.exceptions.SSLError, requests.exceptions.InvalidHeader) as exc:
        raise LastingError(type(exc).__name__) from None
    except requests.exceptions.RequestException as exc:
        raise PassingError(type(exc).__name__) from None
    if 200 <= status < 300:
        return f"answered {status}"
    if 300 <= status < 400:
        raise LastingError(f"answered {status}: it redirects, which is not followed; set url to where it leads")
    if status in (408, 425, 429) or status >= 500:
        raise PassingError(f"answered {status} {told}", min(float(wait), 300.0) if wait.isdigit() else 0.0)
    raise LastingError(f"answered {status} {told}")


def mail(order: t.Mapping[str, t.Any]) -> str:
    message = email.message.EmailMessage()
    message["Subject"], message["From"], message["To"] = order["subject"], order["from"], ", ".join(order["to"])
    message["Date"], message["Message-ID"] = email.utils.formatdate(), email.utils.make_msgid("rollout", "seamless.invalid")
    message.set_content(order["text"])
    tls = order["tls"]
    try:
        server = (
            smtplib.SMTP_SSL(order["server"], order["port"], timeout=READ, context=_context(order)) if tls == "tls"
            else smtplib.SMTP(order["server"], order["port"], timeout=READ)
        )
        with server:
            server.ehlo()
            if tls == "starttls" or tls == "try" and server.has_extn("starttls"):
                server.starttls(context=_context(order))
                server.ehlo()
            elif tls == "try" and order.get("password"):
                raise LastingError("the server offers no encryption, and a password is never sent without: set tls to none if it has to be")
            if order.get("username"):
                server.login(order["username"], order["password"])
            refused = server.send_message(message)
    except ssl.SSLError as exc:
        raise LastingError(type(exc).__name__) from None
    except smtplib.SMTPResponseException as exc:
        error = PassingError if 400 <= exc.smtp_code < 500 else LastingError
        raise error(f"{type(exc).__name__} {exc.smtp_code}") from None
    except smtplib.SMTPRecipientsRefused as exc:
        passing = all(400 <= code < 500 for code, dummy in exc.recipients.values())
        raise (PassingError if passing else LastingError)("the server refuses every recipient") from None
    except (OSError, smtplib.SMTPException) as exc:
        raise PassingError(type(exc).__name__) from None
    return f"taken by the server, but not for {len(refused)} of {len(order['to'])} recipients" if refused else "taken by the server"


def scrubbed(text: str, order: t.Mapping[str, t.Any]) -> str:
    """Return *text* without anything secret of *order* that a receiver may have repeated."""
    url = str(order.get("url") or "")
    parts = urllib.parse.urlsplit(url)
    secrets = [url, parts.path, parts.query, parts.password, order.get("password"), *(order.get("headers") or {}).values()]
    secrets += [piece for piece in parts.path.split("/") if len(piece) >= 8]
    for secret in sorted((str(one) for one in secrets if one and len(str(one)) > 3), key=len, reverse=True):
        text = text.replace(secret, "***")
    return " ".join(text.split())[:300]


def note(order: t.Mapping[str, t.Any], state: str, **detail: t.Any) -> None:
    """Append to the record of notifications what became of this one."""
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    line = {"at": at, **{key: order[key] for key in ("rollout", "event", "number", "to_whom")}, "state": state, **detail}
    handle = os.open(order["record"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(handle, json.dumps(line).encode() + b"\n")
    finally:
        os.close(handle)


def _one_try(order: t.Mapping[str, t.Any]) -> str:
    def over(number: int, frame: t.Any) -> None:
        raise PassingError(f"no answer within {ONE_TRY} s")

    signal.signal(signal.SIGALRM, over)
    signal.alarm(ONE_TRY)
    try:
        return mail(order) if order["kind"] == "mail" else post(order)
    except (PassingError, LastingError):
        raise
    except Exception as exc:
        # Whatever it says may hold what is secret.
        raise LastingError(type(exc).__name__) from None
    finally:
        signal.alarm(0)


def deliver(order: t.Mapping[str, t.Any], sleep: t.Callable[[float], None] = time.sleep) -> bool:
    """Try until it is delivered, can't be, or took too long. Returns whether it was."""
    begun = time.monotonic()
    for number in range(1, TRIES + 1):
        try:
            said = _one_try(order)
        except LastingError as exc:
            note(order, "failed", tries=number, detail=scrubbed(str(exc), order))
            return False
        except PassingError as exc:
            wait = max(exc.wait, min(LONGEST_PAUSE, 2.0 ** (number - 1)))
            if number == TRIES or time.monotonic() - begun + wait > IN_ALL:
                note(order, "failed", tries=number, detail=scrubbed(str(exc), order))
                return False
            note(order, "retried", tries=number, detail=scrubbed(str(exc), order))
            sleep(wait)
        else:
            note(order, "sent", tries=number, detail=scrubbed(said, order))
            return True
    return False


if __name__ == "__main__":
    sys.exit(0 if deliver(json.load(sys.stdin)) else 1)
