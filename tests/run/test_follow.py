"""A log that is followed: its lines as they are, its progress as a bar, and nothing that steers the terminal."""

import asyncio
import io
import itertools
import json
import threading
from pathlib import Path

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from descant.core.errors import DependencyError
from descant.run.clusters.api import ClusterApi
from descant.run.clusters.follow import LogView, follow
from descant.run.clusters.jobs import list_jobs
from descant.run.progress import PROGRESS_LINES, Display
from descant.run.progress_bar import MARK, Position

HALFWAY = Position(2, 20, "embed passages", 4096.0, 10_654.0, "passages", "", 20.0)


def console(*, is_terminal: bool = False) -> Console:
    return Console(file=io.StringIO(), width=160, force_terminal=is_terminal, color_system=None)


def written(where: Console) -> str:
    assert isinstance(where.file, io.StringIO)
    return where.file.getvalue()


@given(
    st.builds(
        Position,
        st.integers(0, 99),
        st.integers(0, 99),
        st.text(st.characters(categories=("L", "N", "P"))),
        *(st.floats(0, 1e12), st.floats(0, 1e12)),
        *(st.text(st.characters(categories=("L", "N"))), st.text(st.characters(categories=("L", "N")))),
        st.floats(0, 1e6),
    )
)
def test_position_survives_its_line(position: Position) -> None:
    line = position.as_line()
    assert line.count("\n") == 1
    assert line.isascii()
    assert Position.from_line(line.rstrip("\n")) == position


@pytest.mark.parametrize(
    "line",
    [
        "[ 2/20] embed passages",
        MARK,
        MARK + "{}",
        MARK + "[]",
        MARK + "nonsense",
        MARK + json.dumps({"number": "x"}),
        MARK + HALFWAY.as_line().removeprefix(MARK).replace("20.0", "NaN"),
        MARK + HALFWAY.as_line().removeprefix(MARK).replace("}", ', "more": 1}'),
        " " + HALFWAY.as_line(),
    ],
)
def test_other_lines_tell_no_position(line: str) -> None:
    assert Position.from_line(line) is None


@given(cuts=st.lists(st.integers(0, 200), max_size=12))
def test_log_is_shown_whole_wherever_it_is_cut(cuts: list[int]) -> None:
    log = "first\n" + HALFWAY.as_line() + "[red]second[/red]\n\nthird: ü\nno end"
    places = sorted({min(cut, len(log)) for cut in cuts} | {0, len(log)})
    where = console()
    with LogView(where) as view:
        for begin, end in itertools.pairwise(places):
            view.feed(log[begin:end])
    assert written(where) == "first\n[red]second[/red]\n\nthird: ü\nno end\n"


def test_progress_becomes_a_bar_on_a_terminal() -> None:
    where = console(is_terminal=True)
    with LogView(where) as view:
        view.feed("begins\n" + HALFWAY.as_line())
    assert "4,096/10,654 passages  204.8/s" in written(where)
    assert "embed passages" in written(where)


def test_log_cannot_steer_the_terminal() -> None:
    where = console(is_terminal=True)
    with LogView(where) as view:
        view.feed("\x1b]0;owned\x07\x1b[2Jx\ttab\r\n")
    shown = written(where)
    assert "\x1b]0" not in shown
    assert "\x1b[2J" not in shown
    assert "\x07" not in shown
    assert "\\x1b]0;owned" in shown


def test_label_of_a_position_cannot_steer_the_terminal() -> None:
    line = Position(1, 2, "a\x1b[2Jb", 1.0, 2.0, "c\x07", "\x9b", 1.0).as_line()
    found = Position.from_line(line.rstrip("\n"))
    assert found is not None
    assert (found.label + found.unit + found.note).isprintable()


def test_job_without_a_terminal_writes_lines_only_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for asked in (False, True):
        monkeypatch.setenv(PROGRESS_LINES, "1") if asked else monkeypatch.delenv(
            PROGRESS_LINES, raising=False
        )
        where = console()
        with Display(where, 3, ["embed"]).step(2, "embed") as progress:
            for done in range(1000):
                progress(done, 1000, "passages")
        lines = written(where).splitlines()
        found = [position for line in lines if (position := Position.from_line(line))]
        assert (len(found) > 0) is asked
        assert len(found) < 5, "a line for every report fills the log"
        assert [line for line in lines if not line.startswith(MARK)][-1].split()[:3] == [
            "[2/3]",
            "embed",
            "0.0",
        ]


LOG = ["starting\n", "step one\nstep", " two\n", "end\n"]


class Head:
    """A head that loses the connection after each of the first messages, and then gives the whole log."""

    def __init__(self, *, always: bool = False) -> None:
        self.always, self.connections = always, 0
        self.url = ""

    async def tail(self, request: web.Request) -> web.WebSocketResponse:
        self.connections += 1
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        for number, text in enumerate(LOG):
            await socket.send_str(text)
            if self.always or number + 1 == self.connections < len(LOG):
                await asyncio.sleep(0.05)
                assert request.transport is not None
                request.transport.abort()
                return socket
        await socket.close()
        return socket

    async def jobs(self, request: web.Request) -> web.Response:
        job = {"type": "SUBMISSION", "submission_id": "a-job", "status": "SUCCEEDED", "start_time": 1}
        return web.json_response([job])


def serve(head: Head, started: threading.Event) -> None:
    async def run() -> None:
        app = web.Application()
        app.router.add_get("/api/jobs/a-job/logs/tail", head.tail)
        app.router.add_get("/api/jobs/", head.jobs)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        head.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        started.set()
        await asyncio.Event().wait()

    asyncio.run(run())


@pytest.fixture
def api(tmp_path: Path, request: pytest.FixtureRequest) -> ClusterApi:
    started = threading.Event()
    threading.Thread(target=serve, args=(request.param, started), daemon=True).start()
    assert started.wait(20)
    token = tmp_path / "token"
    token.touch(0o600)
    return ClusterApi(request.param.url, token)


@pytest.mark.parametrize("api", [Head()], indirect=True)
def test_log_whose_connection_breaks_is_shown_once_and_whole(api: ClusterApi) -> None:
    where = console()
    (job,) = list_jobs(api)
    assert follow(api, job, where).state == "succeeded"
    assert written(where) == "".join(LOG)


@pytest.mark.parametrize("api", [Head(always=True)], indirect=True)
def test_log_that_does_not_go_on_ends_with_the_way_back(api: ClusterApi) -> None:
    (job,) = list_jobs(api)
    with pytest.raises(DependencyError, match="descant jobs logs -f a-job"):
        follow(api, job, console(), patience=1.5)
