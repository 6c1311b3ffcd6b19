"""One writer per address of a store on a URL: leases that a living owner renews, numbered so that one heir wins.

    <address>/lease-000001.json      held; its owner writes it anew every RENEW seconds
    <address>/lease-000002.json      made by whoever saw number 1 unchanged for LAPSE seconds

A lease is made by a conditional write. No clocks are compared: whoever finds a lease watches it, and knows within
RENEW seconds that its owner lives, or after LAPSE seconds that it does not. A machine that cannot renew goes on
computing; what it publishes is safe without a lease, since the first entry of a part wins.
"""

import json
import logging
import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from descant.artifacts.mirror import Mirror, mirror_of
from descant.core.errors import BusyError, DependencyError

log = logging.getLogger(__name__)

LEASES = re.compile(r"^lease-(\d{6})\.json$")


@dataclass(frozen=True)
class Pace:
    """How often an owner shows that it lives, and how long it may be silent, in seconds."""

    renew: float = 10.0
    lapse: float = 60.0
    poll: float = 2.0


PACE = Pace()


@contextmanager
def bucket_lease(folder: Path, pace: Pace = PACE) -> Iterator[None]:
    """Hold ``folder`` for writing against other machines; nothing for ordinary stores.

    The caller holds this machine's own lease of it. Raises BusyError while a living process elsewhere holds it,
    DependencyError where the object store does not answer, or cannot tell who was first.
    """
    mirror = mirror_of(folder)
    if mirror is None:
        yield
        return
    mirror.bucket.refuse_unconditional()
    held = _Held(mirror, mirror.key(folder), pace)
    held.take()
    renewing = threading.Thread(target=held.renew, name="descant-lease", daemon=True)
    renewing.start()
    try:
        yield
    finally:
        held.done.set()
        renewing.join()
        held.give_back()


class _Held:
    def __init__(self, mirror: Mirror, address: str, pace: Pace) -> None:
        self.bucket, self.address, self.pace = mirror.bucket, address, pace
        self.machine = mirror.machine
        self.owner = f"process {os.getpid()} on {socket.gethostname()}"
        self.token = uuid.uuid4().hex
        self.number, self.count = 0, 0
        self.done = threading.Event()

    def take(self) -> None:
        while True:
            number, found = self._newest()
            if found is not None:
                self._watch(number, found)
            self.number = number + 1
            if self.bucket.create(self._key(self.number), self._content()):
                return
            if self.token.encode() in (self.bucket.read(self._key(self.number)) or b""):
                return  # the answer to the first try was lost

    def renew(self) -> None:
        while not self.done.wait(self.pace.renew):
            self.count += 1
            try:
                self.bucket.write(self._key(self.number), self._content())
            except DependencyError as error:
                log.warning("the lease of %s was not renewed: %s", self.address, error)

    def give_back(self) -> None:
        older = [self._key(number) for number in self._numbers() if number < self.number]
        self.bucket.delete([*older, self._key(self.number)])

    def _watch(self, number: int, found: bytes) -> None:
        """Return once the owner of a lease is known to be gone."""
        owner = json.loads(found)
        if owner["machine"] == self.machine:  # its process is gone: this machine's own lease was free
            log.warning("taking over %s from %s, which is gone", self.address, owner["owner"])
            return
        log.info("%s may be held by %s: watching its lease", self.address, owner["owner"])
        deadline = time.monotonic() + self.pace.lapse
        while time.monotonic() < deadline:
            time.sleep(self.pace.poll)
            now = self.bucket.read(self._key(number))
            if now is None:
                return
            if now != found:
                raise BusyError(
                    "E-ART-BUSY",
                    f"{self.bucket.url}/{self.address}",
                    f"{owner['owner']} is writing it",
                    "Nothing was changed. Wait for that run.",
                )
        log.warning("taking over %s from %s, silent for %g s", self.address, owner["owner"], self.pace.lapse)

    def _newest(self) -> tuple[int, bytes | None]:
        number = max(self._numbers(), default=0)
        return number, self.bucket.read(self._key(number)) if number else None

    def _numbers(self) -> list[int]:
        names = (key.rpartition("/")[2] for key in self.bucket.sizes(self.address))
        return [int(found[1]) for found in map(LEASES.match, names) if found]

    def _key(self, number: int) -> str:
        return f"{self.address}/lease-{number:06d}.json"

    def _content(self) -> bytes:
        values = {
            "owner": self.owner,
            "machine": self.machine,
            "token": self.token,
            "renewed": self.count,
        }
        return json.dumps(values).encode()
