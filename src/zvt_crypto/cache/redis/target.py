"""Addresses of Redis as URLs: read strictly, and shown without secrets."""

import re
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from zvt_crypto.core.errors import BadSetting

Layout = Literal["single", "sentinel", "cluster"]
Address = tuple[str, int]

SCHEMES: Final[dict[str, tuple[Layout, bool]]] = {
    "redis": ("single", False),
    "rediss": ("single", True),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
}
_PORTS: Final[dict[Layout, int]] = {"single": 6379, "sentinel": 26379, "cluster": 6379}
_OPTIONS: Final[dict[str, str]] = {
    "db": r"\d{1,4}",
    "prefix": r"[A-Za-z0-9_.\-]{1,40}",
    "sentinel_auth": r"yes|no",
}
_HOST: Final = re.compile(r"\[(?P<six>[0-9a-fA-F:.]+)\](?::(?P<six_port>\d+))?"
                          r"|(?P<host>[A-Za-z0-9_.\-]+)(?::(?P<port>\d+))?")  # fmt: skip
_MASTER: Final = re.compile(r"[A-Za-z0-9_.\-]+")
_MOST_PORT: Final = 65_535
USUAL_PREFIX: Final = "zvtc"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a Redis is. The password is in no text made of it.

    Attributes:
        hosts: the server; the Sentinels; or some nodes of the cluster.
        master: the name Sentinels know the server by.
        sentinel_auth: whether Sentinels ask for the same user and password.
    """

    layout: Layout
    hosts: tuple[Address, ...]
    is_tls: bool = False
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    master: str = ""
    prefix: str = USUAL_PREFIX
    sentinel_auth: bool = False

    @property
    def url(self) -> str:
        """Return it as a URL without user and password."""
        scheme = next(one for one, is_so in SCHEMES.items() if is_so == (self.layout, self.is_tls))
        hosts = ",".join(show_address(one) for one in self.hosts)
        path = f"/{self.master}" if self.master else ""
        return f"{scheme}://{hosts}{path}" + (f"?db={self.db}" if self.db else "")


def show_address(address: Address) -> str:
    """Return `host:port`."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_target(url: str) -> Target:
    """Read the address of a Redis.

    `redis://[user:password@]host[:port][/db]`, `redis+sentinel://host[:port],.../master`,
    `redis+cluster://host[:port],...`; `rediss` in place of `redis` is TLS. Options: `db`, `prefix`,
    `sentinel_auth`.

    Raises:
        BadSetting: it cannot be read; the message shows no part that may be a secret.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in SCHEMES:
        known = ", ".join(f"{one}://" for one in SCHEMES)
        raise _bad(f"the address starts with none of memory://, {known}")
    layout, is_tls = SCHEMES[scheme]
    try:
        parts = urlsplit(f"//{rest}")
    except ValueError:
        raise _bad("the part after :// is not readable") from None
    login, at, places = parts.netloc.rpartition("@")
    username, _, password = login.partition(":") if at else ("", "", "")
    options = _options(parts.query)
    if parts.fragment:
        raise _bad("a # in a password is written %23")
    master, db = _path(layout, parts.path.strip("/"), options)
    hosts = tuple(_address(one, _PORTS[layout]) for one in places.split(","))
    if layout == "single" and len(hosts) > 1:
        raise _bad("redis:// is of one server; several are redis+sentinel:// or redis+cluster://")
    return Target(
        layout=layout,
        hosts=hosts,
        is_tls=is_tls,
        db=db,
        username=unquote(username) or None,
        password=unquote(password) or None,
        master=master,
        prefix=options.get("prefix", USUAL_PREFIX),
        sentinel_auth=options.get("sentinel_auth") == "yes",
    )


def _options(query: str) -> dict[str, str]:
    try:
        found = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        raise _bad("its options are not written name=value") from None
    options: dict[str, str] = {}
    for name, value in found:
        if name not in _OPTIONS:
            raise _bad(f"it has an option that is none of {', '.join(_OPTIONS)}")
        if not re.fullmatch(_OPTIONS[name], value, re.ASCII) or name in options:
            raise _bad(f"its option {name} has a value that cannot be")
        options[name] = value
    return options


def _path(layout: Layout, path: str, options: dict[str, str]) -> tuple[str, int]:
    master = ""
    if layout == "sentinel":
        if not _MASTER.fullmatch(path):
            raise _bad("redis+sentinel:// ends with the master's name: redis+sentinel://host/name")
        master = path
    elif layout == "single" and path:
        if not re.fullmatch(_OPTIONS["db"], path, re.ASCII) or "db" in options:
            raise _bad("what follows the host is the number of a database")
        return "", int(path)
    elif path:
        raise _bad("nothing follows the hosts of redis+cluster://")
    db = int(options.get("db", "0"))
    if layout == "cluster" and db:
        raise _bad("a cluster has database 0 only")
    return master, db


def _address(text: str, usual: int) -> Address:
    found = _HOST.fullmatch(text)
    if found is None:
        raise _bad("a host is missing or not readable; signs in a password are written %40, %2F")
    port = found["port"] or found["six_port"]
    number = usual if port is None else int(port[:6])
    if not 0 < number <= _MOST_PORT:
        raise _bad("a port is not between 1 and 65535")
    return found["host"] or found["six"], number


def _bad(detail: str) -> BadSetting:
    return BadSetting("cache", "settings", detail)
