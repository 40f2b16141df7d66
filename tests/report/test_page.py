# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report as people see it: in a browser, light and dark, on a desk and on a phone."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.plugin_utils._report_files import write_reports
from fleet.fleet import REPO

from report.browser import Browser
from report.streams import HOSTILE, Stream, small, thousand

PHONE, DESK = 390, 1400
# Of text and of what it stands on, in whatever theme: the smallest ratio of contrast there is (WCAG 2.1, 1.4.3, wants 4.5).
CONTRAST = """
function light(c){var p=c.match(/[\\d.]+/g).map(Number),f=p.slice(0,3).map(function(v){v/=255;return v<=0.03928?v/12.92:Math.pow((v+0.055)/1.055,2.4)});
return 0.2126*f[0]+0.7152*f[1]+0.0722*f[2]}
function ground(e){for(;e;e=e.parentElement){var c=getComputedStyle(e).backgroundColor;if(!/, 0\\)$/.test(c)&&c!=='transparent')return c}
return 'rgb(255,255,255)'}
var worst=21;document.querySelectorAll('h1,h2,h3,p,dt,dd,th,td,small,span,summary,li,footer').forEach(function(e){
if(!e.checkVisibility()||!e.textContent.trim())return;
var a=light(getComputedStyle(e).color),b=light(ground(e));worst=Math.min(worst,(Math.max(a,b)+0.05)/(Math.min(a,b)+0.05))});return worst
"""


def page_of(stream: Stream, directory: str) -> str:
    ledger = stream.ledger
    rollout = ledger.rollout(stream.id)
    assert rollout
    path, problems = write_reports(directory, rollout, ledger.hosts(stream.id), ledger.events(stream.id))
    assert problems == [], problems
    return path


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    places = {name: str(tmp_path_factory.mktemp(name)) for name in ("small", "thousand", "real")}
    return {
        "small": page_of(small(places["small"]), places["small"]),
        "thousand": page_of(thousand(places["thousand"]), places["thousand"]),
        "real": roll(places["real"]),
    }


def roll(directory: str) -> str:
    """Update two hosts that are this machine, with the second one's tasks failing in what they hide, and return the page of it."""
    tasks, inventory = (os.path.join(directory, name) for name in ("tasks.json", "inventory.json"))
    secret = {"ansible.builtin.fail": {"msg": "the password is hunter2"}, "no_log": True, "name": "Log in", "when": "inventory_hostname == 'two'"}
    with open(tasks, "w", encoding="utf-8") as file:
        json.dump([{"name": "Take a moment", "ansible.builtin.wait_for": {"timeout": 1}}, secret], file)
    os.rename(tasks, tasks[:-4] + "yml")
    with open(inventory, "w", encoding="utf-8") as file:
        variables = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        json.dump({"app": {"hosts": {name: {"rollout_root": os.path.join(directory, name)} for name in ("one", "two")}, "vars": variables}}, file)
    extra = {"rollout_app": "tiny", "rollout_update_tasks": tasks[:-4] + "yml", "rollout_batch": [1], "rollout_state_dir": os.path.join(directory, "state")}
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": os.path.join(REPO, "build", "tree"), "HOME": directory, "LC_ALL": "C.UTF-8"}
    played = subprocess.run(
        [os.path.join(os.path.dirname(sys.executable), "ansible-playbook"), "-i", inventory, "seamless.rollout.rollout", "-e", json.dumps(extra)],
        env=environment, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )
    (place,) = pathlib.Path(directory, "state", "tiny", "reports").iterdir()
    assert played.returncode != 0 and f"report: {place / 'report.html'}" in played.stdout, played.stdout
    # What Ansible itself prints of a task is its own.
    assert all("hunter2" not in file.read_text() for file in place.iterdir())
    assert b"hunter2" not in pathlib.Path(directory, "state", "tiny", "ledger.sqlite3").read_bytes()
    with open(place / "report.json", encoding="utf-8") as file:
        hosts = json.load(file)["hosts"]
    assert [[(step["step"], step["ok"]) for step in hosts[name]["steps"]] for name in ("one", "two")] == [[("hook", True)], [("hook", False)]]
    assert hosts["one"]["steps"][0]["seconds"] >= 1 and "Log in: what it said is hidden" in hosts["two"]["detail"], hosts
    return str(place / "report.html")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESK])
@pytest.mark.parametrize("name", ["small", "thousand", "real"])
def test_a_page_opens_without_a_complaint_and_fits(browser: Browser, pages: dict[str, str], name: str, width: int, dark: bool) -> None:
    browser.look(width=width, dark=dark)
    browser.open("about:blank")
    browser.complaints(), browser.requests()
    url = pathlib.Path(pages[name]).as_uri()
    browser.open(url)
    assert browser.complaints() == []
    assert browser.requests() == [url]
    assert browser.run("return [innerWidth, document.documentElement.scrollWidth, document.body.scrollWidth]") == [width] * 3
    for number in range(int(browser.run("return document.querySelectorAll('details').length")) if name == "small" else 3):
        browser.run(f"document.querySelectorAll('details')[{number}].open = true")
    assert browser.run("return document.documentElement.scrollWidth") == width, "with all of it opened"
    ground = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(13, 17, 23)" if dark else "rgb(255, 255, 255)")
    assert browser.run(CONTRAST) >= 4.5
    pictures = os.environ.get("REPORT_PICTURES")
    if pictures:
        browser.picture(os.path.join(pictures, f"{name}-{width}-{'dark' if dark else 'light'}.png"))


def test_a_name_that_would_be_a_script_is_text(browser: Browser, pages: dict[str, str]) -> None:
    browser.look(width=DESK, dark=False)
    browser.open(pathlib.Path(pages["small"]).as_uri())
    assert HOSTILE in browser.run("return document.body.innerText")
    assert browser.run("return [document.scripts.length, document.images.length, document.links.length]") == [1, 0, 0]
    assert browser.run("return document.querySelectorAll('tr[data-h] path.bad').length") == 1


def test_bars_and_traffic_have_one_time_axis(browser: Browser, pages: dict[str, str]) -> None:
    """The pictures begin and end at the same places, and what they show lies in them."""
    for width in (PHONE, DESK):
        browser.look(width=width, dark=False)
        browser.open(pathlib.Path(pages["small"]).as_uri())
        shown = "return [...document.querySelectorAll('#timeline ~ table svg, #timeline ~ details svg.row')].map(e => e.getBoundingClientRect())"
        boxes = [(round(box["left"]), round(box["width"])) for box in browser.run(f"{shown}.map(b => ({{left: b.left, width: b.width}}))")]
        assert len(boxes) == 3 + 6 and len(set(boxes)) == 1 and boxes[0][1] > 0.6 * width, boxes
        heights: list[t.Any] = browser.run("return [...document.querySelectorAll('svg.row path.restart')].map(e => e.getBoundingClientRect().width)")
        assert len(heights) == 6 and min(heights) >= 2


def test_hosts_are_found_by_name_and_all_is_there_without_scripts(browser: Browser, pages: dict[str, str]) -> None:
    url = pathlib.Path(pages["thousand"]).as_uri()
    browser.look(width=DESK, dark=False)
    browser.open(url)
    visible = "return [...document.querySelectorAll('tr[data-h]')].filter(e => e.checkVisibility()).length"
    assert browser.run(visible) == 3, "those that failed"
    browser.run("const f = document.querySelector('.find'); f.value = 'WEB0123'; f.dispatchEvent(new Event('input'))")
    assert browser.run(visible) == 2, "one in the timeline, one in the table"
    browser.look(width=DESK, dark=False, script=False)
    browser.open(url)
    document = browser.command("DOM.getDocument", depth=0)["root"]["nodeId"]
    rows = browser.command("DOM.querySelectorAll", nodeId=document, selector="tr[data-h]")["nodeIds"]
    field = browser.command("DOM.querySelectorAll", nodeId=document, selector=".find")["nodeIds"]
    assert len(rows) == 1000 + 777 and field == []
    browser.look(width=DESK, dark=False)
