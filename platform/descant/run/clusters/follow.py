"""Following a job's log as it is written, with its progress as a bar."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from descant.core.printable import printable
from descant.run.clusters.api import ClusterApi
from descant.run.clusters.jobs import SubmittedJob, log_of, wait_for_end
from descant.run.progress_bar import MARK, Bar, Position

if TYPE_CHECKING:
    from rich.console import Console

HEARTBEAT_SECONDS = 60.0
RECONNECT_SECONDS = 60.0
"""How long a log may fail to go on before the cluster counts as gone."""
SETTLE_SECONDS = 30.0
"""What Ray may take to note the end of a job whose log has ended."""


def follow(
    api: ClusterApi, job: SubmittedJob, console: Console, patience: float = RECONNECT_SECONDS
) -> SubmittedJob:
    """Show the log of ``job`` from its beginning until it ends; the job as it ended.

    Raises DependencyError where the cluster is away for ``patience`` seconds before that; the job is not touched.
    """
    with LogView(console) as view:
        asyncio.run(_tail(api, job.id, view, patience))
    return wait_for_end(api, job.id, SETTLE_SECONDS)


def print_log(api: ClusterApi, job: SubmittedJob, console: Console) -> None:
    """Show what the log of ``job`` holds now. Raises what ``ClusterApi.get`` raises."""
    with LogView(console) as view:
        for line in log_of(api, job.id):
            if not line.startswith(MARK):
                view.feed(line + "\n")


class LogView:
    """Lines of a log on a console; those that tell progress move a bar where there is a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rest = ""
        self._bar: Bar | None = None
        self._shown = ExitStack()

    def __enter__(self) -> LogView:
        return self

    def __exit__(self, *_: object) -> None:
        self._shown.close()
        if self._rest:
            self._print(self._rest)

    def feed(self, text: str) -> None:
        """More of the log, cut anywhere."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            position = Position.from_line(line)
            if position is None:
                self._shown.close()
                self._bar = None
                self._print(line)
            elif self._console.is_terminal:
                self._moved(position)

    def _moved(self, position: Position) -> None:
        if self._bar is None or self._bar.number != position.number:
            self._shown.close()
            bar = Bar(self._console, position.number, position.steps, position.label)
            self._bar = self._shown.enter_context(bar)
        self._bar.show(position)

    def _print(self, line: str) -> None:
        self._console.print(printable(line), markup=False, highlight=False, soft_wrap=True)


async def _tail(api: ClusterApi, job_id: str, view: LogView, patience: float) -> None:
    """A connection that breaks is made again: a busy head answers late. The log then comes from its beginning."""
    import aiohttp

    shown, deadline = 0, time.monotonic() + patience
    while True:
        came = 0
        try:
            async with (
                aiohttp.ClientSession(headers=api.headers()) as session,
                session.ws_connect(
                    f"{api.url}/api/jobs/{job_id}/logs/tail", heartbeat=HEARTBEAT_SECONDS
                ) as socket,
            ):
                async for message in socket:
                    if message.type is not aiohttp.WSMsgType.TEXT:
                        continue
                    came += len(message.data)
                    if came > shown:
                        view.feed(message.data[shown - came :])
                        shown, deadline = came, time.monotonic() + patience
                if socket.close_code != aiohttp.WSCloseCode.ABNORMAL_CLOSURE:
                    return
                problem = "the connection was lost"
        except (aiohttp.ClientError, OSError) as error:
            problem = f"{type(error).__name__}: {error}"
        if time.monotonic() > deadline:
            remedy = f"The job may go on: descant jobs logs -f {job_id}"
            raise api.away(f"does not give the log of {job_id} ({problem})", remedy)
        await asyncio.sleep(1)
