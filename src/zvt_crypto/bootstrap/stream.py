"""The stream service, built from settings over an open platform."""

from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from zvt_crypto.bootstrap.platform import Platform
from zvt_crypto.connectors.registry import CONNECTORS, protocol
from zvt_crypto.core.instrument import Instrument
from zvt_crypto.net.ws import WsDialer
from zvt_crypto.ports.filler import Filler
from zvt_crypto.ports.store import Store
from zvt_crypto.ports.stream import StreamProtocol
from zvt_crypto.services.stream import CryptoStreamService, StreamConfig
from zvt_crypto.services.stream.connection import FrameTap
from zvt_crypto.settings import Settings


def stream_service(
    platform: Platform,
    *,
    config: StreamConfig | None = None,
    tap: FrameTap | None = None,
    store: Store | None = None,
    filler: Filler | None = None,
) -> CryptoStreamService:
    """Return the stream service over an open platform; an `async with` runs it.

    Args:
        platform: whose store, connectors and clock it uses.
        config: in place of what the settings say.
        tap: the journal, if raw frames are kept.
        store: in place of the platform's.
        filler: in place of the loader.
    """
    settings = platform.settings
    loader = platform.loader

    async def instruments(exchange: str) -> Iterable[Instrument]:
        return await loader.instruments(exchange)

    return CryptoStreamService(
        store=store or platform.store,
        protocols=protocols(settings),
        dialers={name: _dialer(name, settings) for name in CONNECTORS},
        connectors=platform.connectors,
        instruments=instruments,
        filler=filler or loader,
        clock=platform.clock,
        config=config or stream_config(settings),
        tap=tap,
    )


def stream_config(settings: Settings) -> StreamConfig:
    """Return what the settings say about streams."""
    mine = settings.stream
    return StreamConfig(
        commit_every_s=mine.commit_every_s, depth=mine.depth, keep_books=mine.keep_books
    )


def protocols(settings: Settings) -> Mapping[str, StreamProtocol]:
    """Return the stream side of every exchange, with the hosts in force.

    A URL in the settings beats the simulator, which beats the environment, as with REST.

    Raises:
        BadSetting: an environment has no sockets.
    """
    return {
        name: protocol(
            name,
            _stream_url(name, settings),
            settings.stream.depth,
            settings.exchanges.of(name).environment,
        )
        for name in CONNECTORS
    }


def _stream_url(name: str, settings: Settings) -> str | None:
    """Return the base address that replaces the exchange's own; None for its own."""
    mine = settings.exchanges.of(name)
    if mine.ws_url is not None:
        return mine.ws_url
    if settings.sim is None:
        return None
    where = urlsplit(settings.sim)
    scheme = "wss" if where.scheme == "https" else "ws"
    return f"{scheme}://{where.netloc}{where.path}/{name}"


def _dialer(name: str, settings: Settings) -> WsDialer:
    spec = CONNECTORS[name].SPEC
    proxy = settings.net.proxy
    return WsDialer(
        name,
        geo_remedy=spec.geo_remedy,
        proxy=proxy.get_secret_value() if proxy else None,
        trust=None if settings.net.trust is None else str(settings.net.trust),
    )
