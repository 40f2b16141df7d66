# Copyright (c) 2026, Seamless Rollout Contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every way a runtime socket can fail says so in words of its own, and changes nothing."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import typing as t

import pytest
from ansible_collections.seamless.rollout.plugins.module_utils._balancer import runtime_socket
from ansible_collections.seamless.rollout.plugins.module_utils._errors import SeamlessError

from integration.balancer.lab import Lab, free_port


@contextlib.contextmanager
def listening(where: str | tuple[str, int], answer: bytes | None) -> t.Iterator[socket.socket]:
    """Accept connections at a path or a port; send *answer*, or nothing at all for ever."""
    with socket.socket(socket.AF_UNIX if isinstance(where, str) else socket.AF_INET) as server:
        server.bind(where)
        server.listen(8)
        held: list[socket.socket] = []

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection = server.accept()[0]
                    held.append(connection)
                    if answer is not None:
                        connection.recv(65536)
                        connection.sendall(answer)
                        connection.close()

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown(socket.SHUT_RDWR)
            for connection in held:
                connection.close()


def fails(lab: Lab, message: str, **params: t.Any) -> None:
    with pytest.raises(SeamlessError, match=message):
        lab.drain("s1", **params)
    assert lab.standing()["shop/s1"] == "UP" and lab.records == []


def test_a_socket_that_is_not_there(lab: Lab) -> None:
    fails(lab, "is not there.*stats socket", socket=[lab.path("typo.sock")])


def test_a_socket_without_the_right(lab: Lab) -> None:
    fails(lab, "needs 'level admin'", socket=[lab.path("operator.sock")])


def test_a_socket_whose_process_is_dead(lab: Lab) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(lab.path("dead.sock"))
    fails(lab, "nothing listens there", socket=[lab.path("dead.sock")])


def test_a_socket_that_never_answers(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_socket.RuntimeSocket.__init__, "__defaults__", (0.5,))
    with listening(lab.path("stuck.sock"), None):
        fails(lab, "gave no answer within 0.5 s", socket=[lab.path("stuck.sock")])


def test_a_tcp_socket_where_nothing_listens(lab: Lab) -> None:
    fails(lab, "refuses connections: nothing listens there any more", socket=[f"127.0.0.1:{free_port()}"])


def test_a_tcp_socket_that_never_answers(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_socket.RuntimeSocket.__init__, "__defaults__", (0.5,))
    with listening(("127.0.0.1", 0), None) as silent:
        fails(lab, "gave no answer within 0.5 s", socket=[f"127.0.0.1:{silent.getsockname()[1]}"])


def test_a_dead_process_beside_a_living_one_keeps_the_member_in_both(lab: Lab) -> None:
    fails(lab, "nothing listens there", socket=[lab.path("admin.sock"), f"127.0.0.1:{free_port()}"])


def test_a_socket_of_something_else(lab: Lab) -> None:
    with listening(lab.path("other.sock"), b"-ERR unknown command\r\n"):
        fails(lab, "gave no statistics", socket=[lab.path("other.sock")])


def test_a_connection_that_is_reset_is_made_again(lab: Lab) -> None:
    with socket.socket(socket.AF_INET) as server:
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        port = server.getsockname()[1]

        def reset_then_hand_over() -> None:
            connection = server.accept()[0]
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.recv(1)
            connection.close()
            connection = server.accept()[0]
            connection.sendall(lab.ask(connection.recv(65536).decode().strip()).encode())
            connection.close()

        thread = threading.Thread(target=reset_then_hand_over)
        thread.start()
        assert "shop,s1" in runtime_socket.RuntimeSocket(f"127.0.0.1:{port}").ask("show stat")
        thread.join()


def test_a_mistyped_member_and_a_mistyped_backend(lab: Lab) -> None:
    with pytest.raises(SeamlessError, match=r"s11 is not a server of shop.*there are s1, s2.*Did you mean s1\?"):
        lab.drain("s11")
    fails(lab, "backend shopp is not on.*HAProxy has shop", backend=["shopp"])


def test_words_of_an_error_in_a_health_answer_are_no_error(lab: Lab) -> None:
    for words in ("403 Permission denied", "403 Unknown command"):
        lab.say("s2", words)
        lab.wait(lambda: words[4:] in lab.info("s2")["check"])  # noqa: B023
    assert lab.info("s2")["health"] == "down"
    assert lab.drain("s2")["changed"]


def test_records_that_cannot_be_written_keep_the_member_in(lab: Lab) -> None:
    with open(lab.path("records"), "w"):
        pass
    with pytest.raises((SeamlessError, OSError)):
        lab.drain("s1")
    assert lab.standing()["shop/s1"] == "UP"
