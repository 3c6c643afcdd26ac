"""Values from flags, environment and file: the only reader of `ZVTC_...` and `zvtc.toml`.

Flags win over the environment, the environment over `zvtc.toml`, the file over the defaults.
Every layer is flattened to dotted keys (`exchanges.binance.rest_url`) before it is merged: so an
unknown key is found by comparison with the models, and the layer a value came from stays known.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
)

from zvt_crypto.core.errors import BadSetting, UnknownSetting

ENV_PREFIX: Final = "ZVTC_"
FILE_NAME: Final = "zvtc.toml"

_MIB: Final = 1 << 20
# Variables of ours that are no settings: where the file is, tracebacks, and what tests use.
_NOT_SETTINGS: Final = frozenset({"ZVTC_CONFIG", "ZVTC_DEBUG"})
_TEST_PREFIX: Final = "ZVTC_TEST_"
_MASK: Final = "****"
# Greedy up to the last sign: an unescaped `@` or `/` in a password must not show the rest of it.
_URL_USER: Final = re.compile(r"(?<=://)\S+@")
_URL_QUERY: Final = re.compile(r"(?i)([?&](?:password|token|secret)=)[^&\s]+")


def mask_url(text: str) -> str:
    """Return `text` with the secrets of every URL in it replaced by asterisks."""
    return _URL_QUERY.sub(rf"\1{_MASK}", _URL_USER.sub(f"{_MASK}@", text))


def _http_url(value: object) -> object:
    if isinstance(value, str) and not re.fullmatch(r"https?://[^/\s]\S*", value):
        raise ValueError("an http:// or https:// address is expected")
    return value.rstrip("/") if isinstance(value, str) else value


def _ws_url(value: object) -> object:
    if isinstance(value, str) and not re.fullmatch(r"wss?://[^/\s]\S*", value):
        raise ValueError("a ws:// or wss:// address is expected")
    return value.rstrip("/") if isinstance(value, str) else value


def _not_blank(value: object) -> object:
    if isinstance(value, str) and not value.strip():
        raise ValueError("it must not be blank")
    return value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


HttpUrl = Annotated[str, BeforeValidator(_http_url)]
WsUrl = Annotated[str, BeforeValidator(_ws_url)]
Text = Annotated[str, BeforeValidator(_not_blank)]
Level = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def __repr_args__(self) -> Iterator[tuple[str | None, object]]:
        """Hide passwords inside URLs wherever the object is printed."""
        for name, value in super().__repr_args__():
            yield name, mask_url(value) if isinstance(value, str) else value

    def __str__(self) -> str:
        return self.__repr_str__(" ")


class ExchangeSettings(_Group):
    """How one exchange is spoken to."""

    environment: Text = Field(
        default="mainnet", description="Set of hosts: mainnet, or a name its connector lists"
    )
    rest_url: HttpUrl | None = Field(
        default=None, description="Base URL of REST in place of the usual one"
    )
    linear_url: HttpUrl | None = Field(
        default=None, description="Base URL of futures REST (Binance)"
    )
    archive_url: HttpUrl | None = Field(default=None, description="Base URL of the bulk files")
    ws_url: WsUrl | None = Field(
        default=None, description="Base URL of the sockets in place of the usual one"
    )
    budget: float = Field(
        default=0.97, gt=0, le=1, description="Share of the published rate limit in use"
    )
    limit_factor: float = Field(
        default=1.0, gt=0, description="Multiplies the published limits, if others were granted"
    )
    concurrency: int = Field(default=8, ge=1, le=256, description="Requests in flight at once")


class Exchanges(_Group):
    """One group per exchange."""

    binance: ExchangeSettings = ExchangeSettings()
    okx: ExchangeSettings = ExchangeSettings()
    bybit: ExchangeSettings = ExchangeSettings()
    coinbase: ExchangeSettings = ExchangeSettings()

    def of(self, name: str) -> ExchangeSettings:
        """Return the group of the exchange called `name`.

        Raises:
            KeyError: there is no such exchange.
        """
        group = dict(self).get(name)
        if not isinstance(group, ExchangeSettings):
            raise KeyError(name)
        return group


class NetSettings(_Group):
    """How requests travel."""

    proxy: Annotated[SecretStr, BeforeValidator(_http_url)] | None = Field(
        default=None, description="HTTP proxy for every request; may hold a password, shown masked"
    )
    trust: Path | None = Field(
        default=None, description="File of certificates to trust beside the system's"
    )
    connect_timeout_s: Seconds = Field(default=10.0, description="Wait for a connection")
    read_timeout_s: Seconds = Field(default=30.0, description="Wait for the next bytes of a reply")
    max_body_bytes: ByteSize = Field(
        default=ByteSize(64 * _MIB), gt=0, description="Largest reply taken, a number or `64MiB`"
    )
    egress: Text = Field(
        default="shared",
        description="Name of the address requests leave from: machines of one name share rate "
        "budgets in Redis",
    )
    retry_for_s: float = Field(
        default=120.0, ge=0, allow_inf_nan=False, description="How long one request is tried again"
    )


class LoadSettings(_Group):
    """How history is loaded."""

    parallel_series: int = Field(
        default=8, ge=1, le=256, description="Series loaded at the same time"
    )
    archive: Literal["auto", "always", "never"] = Field(
        default="auto", description="Whether bulk files are used where the exchange has them"
    )
    confirm: Literal["holes", "rows"] = Field(
        default="holes", description="What is asked twice before it is believed: holes, or all rows"
    )
    commit_rows: int = Field(default=500_000, ge=1, description="Rows gathered before one commit")
    share: bool = Field(
        default=True, description="Whether loaders that share a store share the work they are given"
    )
    lease_s: Seconds = Field(
        default=30.0, description="A killed loader's work is taken over by another after this"
    )


def _words(value: object) -> object:
    """Take a list in a variable as words between commas or spaces."""
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


Words = Annotated[tuple[Text, ...], BeforeValidator(_words)]


class StreamSettings(_Group):
    """How live data is streamed."""

    subscriptions: Words = Field(
        default=(),
        description="What `zvtc stream` and `record` stream: EXCHANGE:SYMBOL[:KIND[:INTERVAL]]",
    )
    share: Text | None = Field(
        default=None,
        description="Name of a group: streams with the same one and the same store share the work",
    )
    lease_s: Seconds = Field(
        default=10.0, description="A killed stream's share is taken over by others after this"
    )
    commit_every_s: Seconds = Field(
        default=0.25, description="How often live rows are made durable"
    )
    depth: int = Field(
        default=50, ge=1, le=5_000, description="Levels a side of live books, at least"
    )
    keep_books: bool = Field(
        default=False, description="Store live books: each change, and the whole book now and then"
    )
    metrics_port: int | None = Field(
        default=None, ge=0, le=65_535, description="Port of Prometheus metrics; 0 picks one"
    )
    metrics_host: Text = Field(default="127.0.0.1", description="Address the metrics are served on")
    journal: Path | None = Field(
        default=None, description="Folder for every raw frame, beside the store"
    )
    journal_segment_bytes: ByteSize = Field(
        default=ByteSize(64 * _MIB), gt=0, description="Size a journal file is closed at"
    )
    journal_segment_s: Seconds = Field(
        default=3_600.0, description="Age a journal file is closed at"
    )
    journal_flush_s: Seconds = Field(
        default=0.2, description="A frame is on disk this long after it came"
    )
    journal_retention_bytes: ByteSize = Field(
        default=ByteSize(10 * 1024 * _MIB),
        ge=0,
        description="Closed journal files beyond this size together go, oldest first; 0 keeps all",
    )
    journal_retention_s: Seconds | None = Field(
        default=None, description="Closed journal files older than this go"
    )


class CachingSettings(_Group):
    """How latest values are kept."""

    ttl_s: Seconds = Field(default=60.0, description="How long a live value is kept in the cache")
    ring: int = Field(
        default=500, ge=1, le=10_000, description="Closed candles of each series kept in the cache"
    )
    read_timeout_s: Seconds = Field(
        default=0.1, description="Wait for a read of the cache; then the store is asked"
    )
    write_timeout_s: Seconds = Field(default=0.25, description="Wait for a write to the cache")


class Settings(_Group):
    """All values the platform takes from outside."""

    store: Text = Field(default="./data", description="Where data is kept: a folder, or memory://")
    cache: Text = Field(
        default="memory://",
        description="Where latest values are kept: memory://, redis://, redis+sentinel:// or "
        "redis+cluster://",
    )
    sim: HttpUrl | None = Field(
        default=None, description="Base URL of a simulator; every exchange is then spoken to there"
    )
    log_level: Level = Field(default="warning", description="debug, info, warning or error")
    state_dir: Path = Field(
        default=Path(".zvtc"), description="Folder of rate budgets shared between processes"
    )
    net: NetSettings = NetSettings()
    caching: CachingSettings = CachingSettings()
    load: LoadSettings = LoadSettings()
    stream: StreamSettings = StreamSettings()
    exchanges: Exchanges = Exchanges()


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as shown: its value with secrets masked, and the layer it came from."""

    key: str
    value: object
    origin: str
    description: str

    @property
    def variable(self) -> str:
        """Name of the environment variable that sets it."""
        return env_name(self.key)


@dataclass(frozen=True, slots=True)
class Resolved:
    """Settings, and where each value came from."""

    settings: Settings
    origins: Mapping[str, str]
    file: Path | None

    def origin(self, key: str) -> str:
        """Return `flag`, `environment ZVTC_STORE`, the name of the file, or `default`.

        Raises:
            KeyError: `key` is no setting.
        """
        if key not in KEYS:
            raise KeyError(key)
        return self.origins.get(key, "default")

    def rows(self) -> list[Setting]:
        """Return every setting in the order of the models, secrets masked."""
        return [
            Setting(key, _shown(self.settings, key), self.origin(key), description)
            for key, description in KEYS.items()
        ]


def default_settings() -> Resolved:
    """Return what holds where nothing is set, to show when what is set cannot be used."""
    home = {name: os.environ[name] for name in ("HOME", "XDG_STATE_HOME") if name in os.environ}
    return Resolved(Settings(state_dir=_default_state_dir(home)), {}, None)


def env_name(key: str) -> str:
    """Return the environment variable of a dotted key: `net.proxy` is `ZVTC_NET__PROXY`."""
    return ENV_PREFIX + key.replace(".", "__").upper()


def load_settings(
    overrides: Mapping[str, object] | None = None,
    *,
    cwd: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Resolved:
    """Merge all layers and check them.

    Args:
        overrides: values of flags by dotted key; None means the flag was not given.
        cwd: folder to look for `zvtc.toml` in, unless `ZVTC_CONFIG` names another file.
        environ: variables to read in place of the process's own. An empty one counts as unset.

    Raises:
        UnknownSetting: a key in any layer is none of ours.
        BadSetting: a value cannot be taken, or the file cannot be read.
    """
    variables = os.environ if environ is None else environ
    file = _find_file(Path.cwd() if cwd is None else cwd, variables)
    values: dict[str, object] = {"state_dir": _default_state_dir(variables)}
    origins: dict[str, str] = {}
    layers = (
        (file.name if file else "", _from_file(file) if file else {}),
        ("environment", _from_environment(variables)),
        ("flag", _from_flags(overrides or {})),
    )
    for origin, layer in layers:
        for key, value in layer.items():
            values[key] = value
            origins[key] = f"{origin} {env_name(key)}" if origin == "environment" else origin
    try:
        settings = Settings.model_validate(_nest(values))
    except ValidationError as e:
        # Inputs stay out of the message: a setting may be a secret.
        first = e.errors(include_input=False, include_url=False, include_context=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        detail = first["msg"].removeprefix("Value error, ")
        raise BadSetting(key, origins.get(key, "default"), detail) from None
    return Resolved(settings, origins, file)


def _keys_of(group: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, field in group.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _keys_of(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field.description or ""


KEYS: Final[dict[str, str]] = dict(_keys_of(Settings))
"""Every setting by its dotted key, with what it is for."""

_GROUPS: Final = {key[:at] for key in KEYS for at, c in enumerate(key) if c == "."}


def _find_file(cwd: Path, environ: Mapping[str, str]) -> Path | None:
    named = environ.get("ZVTC_CONFIG")
    if named:
        file = cwd / Path(named).expanduser()
        if not file.is_file():
            raise BadSetting("ZVTC_CONFIG", "environment", f"there is no file {named}")
        return file
    file = cwd / FILE_NAME
    return file if file.is_file() else None


def _from_file(file: Path) -> dict[str, object]:
    try:
        with file.open("rb") as opened:
            tree = tomllib.load(opened)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        raise BadSetting(file.name, str(file), f"it cannot be read: {e}") from None
    flat = dict(_flatten(tree))
    for key, value in flat.items():
        if key in _GROUPS and not isinstance(value, Mapping):
            raise BadSetting(key, str(file), f"it is a group; write [{key}] and its settings below")
        if key not in KEYS and key not in _GROUPS:
            raise UnknownSetting(key, str(file), _nearest(key))
    return {key: value for key, value in flat.items() if key in KEYS}


def _flatten(tree: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield leaves by dotted key; an empty table is a leaf, so that its name is checked too."""
    for name, value in tree.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict) and value:
            yield from _flatten(value, f"{key}.")
        else:
            yield key, value


def _from_environment(environ: Mapping[str, str]) -> dict[str, object]:
    values: dict[str, object] = {}
    for name, value in sorted(environ.items()):
        if not name.startswith(ENV_PREFIX) or name in _NOT_SETTINGS:
            continue
        if name.startswith(_TEST_PREFIX):
            continue
        key = name.removeprefix(ENV_PREFIX).lower().replace("__", ".")
        if key not in KEYS:
            raise UnknownSetting(name, "the environment", [env_name(k) for k in _nearest(key)])
        if value:
            values[key] = value
    return values


def _from_flags(overrides: Mapping[str, object]) -> dict[str, object]:
    given = {key: value for key, value in overrides.items() if value is not None}
    for key in given:
        if key not in KEYS:
            raise UnknownSetting(key, "the flags", _nearest(key))
    return given


def _nearest(key: str) -> list[str]:
    return difflib.get_close_matches(key, [*KEYS, *_GROUPS], n=1, cutoff=0.5)


def _nest(values: Mapping[str, object]) -> dict[str, object]:
    tree: dict[str, object] = {}
    for key, value in values.items():
        *groups, leaf = key.split(".")
        node = tree
        for group in groups:
            below = node.setdefault(group, dict[str, object]())
            assert isinstance(below, dict)  # noqa: S101 - no key is both a group and a leaf
            node = below
        node[leaf] = value
    return tree


def _default_state_dir(environ: Mapping[str, str]) -> Path:
    """Return where a user's programs keep state, by the rules of the XDG base directories."""
    base = environ.get("XDG_STATE_HOME")
    home = environ.get("HOME")
    root = Path(base) if base else (Path(home) if home else Path.home()) / ".local" / "state"
    return root / "zvtc"


def _shown(settings: Settings, key: str) -> object:
    value: object = settings
    for name in key.split("."):
        value = getattr(value, name)
    if isinstance(value, SecretStr):
        # The host of a proxy helps; only what stands before it is a secret.
        return mask_url(value.get_secret_value())
    if isinstance(value, str):
        return mask_url(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return ", ".join(str(one) for one in value)
    return int(value) if isinstance(value, ByteSize) else value
