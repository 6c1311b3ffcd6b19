"""Ray's HTTP interface, asked with a token: who is refused, who is away, and that the token goes nowhere else."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from descant.core.errors import DependencyError, PolicyError
from descant.run.clusters.api import ClusterApi, read_token

TOKEN = "5ecre7" * 8


class Answers(BaseHTTPRequestHandler):
    """Answers each path as its name says, and remembers what it was sent."""

    seen: list[tuple[str, str | None]]
    silence: threading.Event

    def do_GET(self) -> None:
        self.seen.append((self.path, self.headers.get("Authorization")))
        what = self.path.removeprefix("/")
        if what == "silent":
            self.silence.wait(20)
            return
        if what == "right":
            code = 200 if self.headers.get("Authorization") == f"Bearer {TOKEN}" else 403
        else:
            code = {"moved": 302, "garbage": 200}.get(what) or int(what)
        self.send_response(code)
        self.send_header("Location", "/right")
        self.end_headers()
        self.wfile.write(b"<html>" if what == "garbage" else b'{"ray_version": "2"}')

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    Answers.seen, Answers.silence = [], threading.Event()
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}", Answers.seen
        Answers.silence.set()
        running.shutdown()


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.touch(mode=0o600)
    path.write_text(TOKEN + "\n")
    return path


def test_right_token_is_let_in(server: tuple[str, list[tuple[str, str | None]]], token: Path) -> None:
    assert ClusterApi(server[0], token).get("right") == {"ray_version": "2"}


@pytest.mark.parametrize("code", [401, 403])
def test_refused_token_is_named_by_its_file_and_never_shown(
    server: tuple[str, list[tuple[str, str | None]]], token: Path, code: int
) -> None:
    with pytest.raises(PolicyError) as raised:
        ClusterApi(server[0], token).get(str(code))
    message = str(raised.value)
    assert raised.value.exit_code == 6
    assert server[0] in message
    assert str(token) in message
    assert TOKEN not in message


@pytest.mark.parametrize("what", ["500", "404", "garbage", "moved"])
def test_other_answers_are_no_cluster(
    server: tuple[str, list[tuple[str, str | None]]], token: Path, what: str
) -> None:
    with pytest.raises(DependencyError) as raised:
        ClusterApi(server[0], token).get(what)
    assert raised.value.exit_code == 7
    assert server[0] in str(raised.value)
    assert [path for path, _ in server[1]] == [f"/{what}"], "the token went on to where it was sent"


def test_closed_port_and_silence_end_in_7(
    server: tuple[str, list[tuple[str, str | None]]], token: Path
) -> None:
    for url, path in ((server[0], "silent"), ("http://127.0.0.1:9", "right")):
        with pytest.raises(DependencyError, match="no answer") as raised:
            ClusterApi(url, token, patience=0.3).get(path)
        assert "descant cluster status" in str(raised.value)


def test_proxy_of_the_environment_does_not_see_the_token(
    server: tuple[str, list[tuple[str, str | None]]], token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server[0])
    with pytest.raises(DependencyError):
        ClusterApi("http://127.0.0.1:9", token).get("right")
    assert server[1] == []


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_token_that_others_can_read_is_not_sent(
    server: tuple[str, list[tuple[str, str | None]]], token: Path, mode: int
) -> None:
    token.chmod(mode)
    with pytest.raises(PolicyError, match=f"{mode:04o}"):
        ClusterApi(server[0], token).get("right")
    assert server[1] == []


def test_missing_token_is_named(tmp_path: Path) -> None:
    with pytest.raises(DependencyError, match="No such file"):
        read_token(tmp_path / "token")
