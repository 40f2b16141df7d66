# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to seamless.rollout. It can have breaking changes at any time.

"""Who is told of a rollout, and in which words. Nothing here sends anything.

The formats follow the services' own documentation: Slack's incoming webhooks and Block Kit (a header of at most 150 characters, a section of at most
3000, ten fields of at most 2000), the message with an Adaptive Card that the webhook trigger of Teams' Workflows takes (the connectors and their
MessageCard are retired), and Mattermost's incoming webhooks with message attachments, which have to have a ``fallback``.
"""

from __future__ import annotations

import difflib
import functools
import importlib.util
import string
import typing as t
import urllib.parse

EVENTS = ("start", "pause", "failure", "end")
HTTP_TYPES = ("webhook", "slack", "teams", "mattermost")
TYPES = (*HTTP_TYPES, "mail")
_COMMON = ("type", "events", "text", "name")
_HTTP = ("url", "headers", "ca_path", "validate_certs")
_MAIL = ("to", "from", "server", "port", "tls", "username", "password", "ca_path", "validate_certs")
TLS = ("try", "starttls", "tls", "none")
# What a text of the user's own may name.
FIELDS = ("event", "app", "release", "id", "mode", "state", "why", "owner", "reason", "seconds", "hosts")

Entry = t.Mapping[str, t.Any]


@functools.lru_cache(maxsize=1)
def has_requests() -> bool:
    """Say whether the library is there that posts; asked once, and not for each of a thousand hosts."""
    return importlib.util.find_spec("requests") is not None


def problems(value: t.Any) -> list[str]:
    """Return what is wrong with ``rollout_notify``. No sentence repeats an address: it may be a secret."""
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        return ['rollout_notify is not a list of dictionaries: use one such as [{type: slack, url: "{{ vault_slack_url }}"}].']
    return [f"rollout_notify[{index}]{problem}" for index, entry in enumerate(value) for problem in _of_entry(entry)]


def _of_entry(entry: Entry) -> t.Iterator[str]:
    kind = str(entry.get("type", ""))
    if kind not in TYPES:
        yield f".type is {entry.get('type')!r}: use one of {', '.join(TYPES)}.{_near(kind, TYPES)}"
        return
    known = (*_COMMON, *(_MAIL if kind == "mail" else _HTTP))
    for key in entry:
        if key not in known:
            yield f" has {key!r}, which means nothing for {kind}.{_near(str(key), known) or f' Known are {chr(44).join(known)}.'}"
    events = entry.get("events", list(EVENTS))
    if not isinstance(events, list) or not events:
        yield f".events is {events!r}: use a list of {', '.join(EVENTS)}, or leave it out for all."
    else:
        for event in events:
            if event not in EVENTS:
                yield f".events has {event!r}: the events are {', '.join(EVENTS)}.{_near(str(event), EVENTS)}"
    if "text" in entry:
        yield from _of_text(entry["text"])
    yield from (_of_mail(entry) if kind == "mail" else _of_http(entry, kind))


def _near(word: str, known: t.Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f" Did you mean {near[0]}?" if near else ""


def _of_text(text: t.Any) -> t.Iterator[str]:
    try:
        names = [part[1] for part in string.Formatter().parse(str(text)) if part[1] is not None]
        unknown = [name for name in names if name not in FIELDS]
    except ValueError as exc:
        yield f".text is {text!r}, which can't be read ({exc}): use a text such as \"{{app}} {{release}}: {{state}}\"."
        return
    for name in unknown:
        yield f".text has {{{name}}}: what may be named is {', '.join(FIELDS)}.{_near(name, FIELDS)}"


def _of_http(entry: Entry, kind: str) -> t.Iterator[str]:
    url = entry.get("url")
    if not url:
        yield f".url is not set: {kind} needs the address to post to, such as url: \"{{{{ vault_{kind}_url }}}}\"."
    else:
        try:
            parts = urllib.parse.urlsplit(str(url))
            sound = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            sound = False
        if not sound:
            yield ".url is not a complete address (it is not repeated here, it may be a secret): use one such as https://hooks.example.com/x."
    headers = entry.get("headers", {})
    if not isinstance(headers, dict) or any(not isinstance(text, str) or "\n" in text or "\r" in text for pair in headers.items() for text in pair):
        yield ".headers is not a dictionary of texts: use one such as {Authorization: \"Bearer {{ vault_token }}\"}."
    if not has_requests():
        yield f".type is {kind}, and the Python library requests is not there on the controller: pip install requests, where ansible-playbook is installed."


def _of_mail(entry: Entry) -> t.Iterator[str]:
    to = entry.get("to")
    if not to or not all(isinstance(one, str) and "@" in one and "\n" not in one for one in ([to] if isinstance(to, str) else to)):
        yield f".to is {to!r}: use an address or a list of them, such as [ops@example.com]."
    if "@" not in str(entry.get("from", "")) or "\n" in str(entry.get("from")):
        yield f".from is {entry.get('from')!r}: use the address that the mail is from, such as rollout@example.com."
    if not str(entry.get("port", 25)).isdigit():
        yield f".port is {entry.get('port')!r}: use a number such as 587."
    if str(entry.get("tls", "try")) not in TLS:
        yield f".tls is {entry.get('tls')!r}: use one of {', '.join(TLS)}."
    if bool(entry.get("username")) != bool(entry.get("password")):
        yield " has only one of username and password: use both, or neither."


def wanted(entry: Entry, event: str) -> bool:
    return event in entry.get("events", EVENTS)


def label(entry: Entry, index: int) -> str:
    """Return what a receiver is called in records and warnings: its name, or its place in the list, never its address."""
    return str(entry.get("name") or f"rollout_notify[{index}] ({entry['type']})")


def headline(news: t.Mapping[str, t.Any]) -> str:
    """Return in one line what happened."""
    what = f"{news['app']} {news['release'] or ''}".strip()
    said = {
        "start": f"rollout started ({news['mode']})",
        "pause": "rollout paused",
        "failure": "rollout failing" + (", going back" if news["state"] == "rolling_back" else ""),
        "end": f"rollout {news['state'].replace('_', ' ')}",
    }[news["event"]]
    return f"{what}: {said}"


def words(entry: Entry, news: t.Mapping[str, t.Any]) -> str:
    """Return the text below the headline: the user's own where there is one."""
    if entry.get("text"):
        values = {name: news.get(name) for name in FIELDS}
        return str(entry["text"]).format_map({**values, "release": news["release"] or "", "hosts": ", ".join(news["hosts"])})
    return str(news["why"] or news["reason"] or "")


def _facts(news: t.Mapping[str, t.Any]) -> list[tuple[str, str]]:
    moved = sorted({f"{host['from'] or '-'} -> {host['to'] or '-'}" for host in news["hosts"].values()})
    states: dict[str, int] = {}
    for host in news["hosts"].values():
        states[host["state"]] = states.get(host["state"], 0) + 1
    told = [("By", news["owner"]), ("Release", ", ".join(moved)), ("Hosts", ", ".join(f"{count} {state}" for state, count in states.items()))]
    if news["event"] == "end":
        told.append(("Time", f"{news['seconds']:.0f} s"))
    return [(name, str(value)) for name, value in [*told, ("Rollout", news["id"])] if value]


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _good(news: t.Mapping[str, t.Any]) -> bool | None:
    """Say whether it is good news or bad, None for neither."""
    if news["event"] == "failure" or news["event"] == "end" and news["state"] not in ("succeeded", "paused"):
        return False
    return True if news["event"] == "end" and news["state"] == "succeeded" else None


def payload(entry: Entry, news: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return what is posted to a receiver of one of :data:`HTTP_TYPES`."""
    return {"webhook": _webhook, "slack": _slack, "teams": _teams, "mattermost": _mattermost}[entry["type"]](headline(news), words(entry, news), news)


def _webhook(title: str, text: str, news: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {**news, "text": f"{title}\n{text}".strip()}


def _slack(title: str, text: str, news: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    def escaped(some: str) -> str:
        return some.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

    blocks: list[dict[str, t.Any]] = [{"type": "header", "text": {"type": "plain_text", "text": _cut(title, 150)}}]
    if text:
        blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": escaped(_cut(text, 2400))[:3000]}})
    fields = [{"type": "mrkdwn", "text": f"*{name}*\n{escaped(_cut(value, 1500))[:1900]}"} for name, value in _facts(news)]
    return {"text": escaped(_cut(title, 1000)), "blocks": [*blocks, {"type": "section", "fields": fields[:10]}]}


def _teams(title: str, text: str, news: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    colour = {True: "Good", False: "Attention", None: "Default"}[_good(news)]
    body: list[dict[str, t.Any]] = [{"type": "TextBlock", "text": _cut(title, 500), "weight": "Bolder", "size": "Medium", "color": colour, "wrap": True}]
    if text:
        body.append({"type": "TextBlock", "text": _cut(text, 3000), "wrap": True})
    body.append({"type": "FactSet", "facts": [{"title": name, "value": _cut(value, 1000)} for name, value in _facts(news)]})
    card = {"$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.4", "body": body}
    return {"type": "message", "attachments": [{"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}]}


def _mattermost(title: str, text: str, news: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    colour = {True: "#2eb886", False: "#d00000", None: "#808080"}[_good(news)]
    fields = [{"short": True, "title": name, "value": _cut(value, 500)} for name, value in _facts(news)]
    attachment = {"fallback": _cut(title, 500), "color": colour, "title": _cut(title, 500), "text": _cut(text, 3000), "fields": fields}
    return {"text": _cut(title, 1000), "attachments": [attachment]}
