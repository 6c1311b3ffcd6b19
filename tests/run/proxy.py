"""A TCP proxy in front of a server, with the faults of a network and of a server in trouble."""

import contextlib
import itertools
import socket
import threading
from typing import Literal

Mode = Literal["pass", "refuse", "hang", "error", "flap", "mute"]
ERROR = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\nConnection: close\r\n\r\noops"


class Proxy:
    """``pass`` forwards; ``refuse`` takes no connection; ``hang`` holds every byte back until the mode changes;
    ``error`` answers 500; ``flap`` cuts two of three connections; ``mute`` forwards requests and loses the answers.
    """

    def __init__(self, port: int) -> None:
        self._behind = port
        self._mode: Mode = "pass"
        self._gate = threading.Event()
        self._gate.set()
        self._count = itertools.count()
        self._open: set[socket.socket] = set()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._listen()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def set(self, mode: Mode) -> None:
        was, self._mode = self._mode, mode
        if mode == "refuse" != was:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._cut()
        if was == "refuse" != mode:
            self._listen()
        if mode == "hang":
            self._gate.clear()
        else:
            self._gate.set()
        if mode in ("flap", "error"):
            self._cut()

    def _listen(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port), reuse_port=False)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                if self._mode == "flap" and next(self._count) % 3:
                    near.close()
                    continue
                threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with contextlib.suppress(OSError), near, socket.create_connection(("127.0.0.1", self._behind)) as far:
            self._open |= {near, far}
            answers = threading.Thread(target=self._answers, args=(far, near), daemon=True)
            answers.start()
            while data := near.recv(1 << 16):
                self._gate.wait()
                if self._mode == "error":
                    near.sendall(ERROR)
                    break
                far.sendall(data)
            far.shutdown(socket.SHUT_WR)
            answers.join(timeout=30)
            self._open -= {near, far}

    def _answers(self, far: socket.socket, near: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := far.recv(1 << 16):
                self._gate.wait()
                if self._mode == "mute":
                    near.shutdown(socket.SHUT_RDWR)
                    return
                near.sendall(data)

    def _cut(self) -> None:
        for end in list(self._open):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._open.clear()
