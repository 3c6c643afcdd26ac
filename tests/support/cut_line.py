"""A line to a server that can be cut in the middle of what is being sent."""

import contextlib
import socket
import threading
from collections.abc import Generator


class CutLine:
    """Forwards connections of the loopback to a port, until it is told to cut them."""

    def __init__(self, target: int) -> None:
        """Forward to `target`; `port` is where to connect."""
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._left: int | None = None
        self._refuses = False
        self._guard = threading.Lock()
        self._open: list[socket.socket] = []
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_after(self, count: int, *, refuse: bool = False) -> None:
        """Cut the line once so many more bytes went to the server; then refuse it, or heal."""
        with self._guard:
            self._left, self._refuses = count, refuse

    def heal(self) -> None:
        """Forward everything again."""
        with self._guard:
            self._left, self._refuses = None, False

    def close(self) -> None:
        """End it."""
        self._listener.close()
        self._drop()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._refuses and self._left is None:
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self._target))
            with self._guard:
                self._open += [near, far]
            for one, other, is_up in ((near, far, True), (far, near, False)):
                threading.Thread(
                    target=self._forward, args=(one, other, is_up), daemon=True
                ).start()

    def _forward(self, one: socket.socket, other: socket.socket, is_up: bool) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65_536):
                if is_up and self._is_cut_by(len(data)):
                    other.sendall(data[: len(data) // 2])
                    self._drop()
                    return
                other.sendall(data)
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _is_cut_by(self, count: int) -> bool:
        with self._guard:
            if self._left is None:
                return False
            self._left -= count
            if self._left >= 0:
                return False
            self._left = None
            self.cuts += 1
            return True

    def _drop(self) -> None:
        with self._guard:
            doomed, self._open = self._open, []
        for end in doomed:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@contextlib.contextmanager
def cut_line(target: int) -> Generator[CutLine]:
    """Run a line for as long as the block lasts."""
    line = CutLine(target)
    try:
        yield line
    finally:
        line.close()
