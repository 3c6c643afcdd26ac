"""`zvtc sim`: four exchanges in a box, for our tests and for anybody's bots."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from zvt_crypto.cli.display import print_json
from zvt_crypto.core.errors import UsageError
from zvt_crypto.simulator.config import SimulatorConfig, read_json, read_speed
from zvt_crypto.simulator.server import serve


def sim(
    *,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 picks a free one.")] = 0,
    seed: Annotated[int, typer.Option("--seed", help="Another seed is another market.")] = 1,
    candles: Annotated[
        list[str] | None,
        typer.Option(
            "--candles",
            metavar="FILE=EXCHANGE:SYMBOL:INTERVAL",
            help="Serve a CSV exactly as it is, holes included; may be repeated.",
        ),
    ] = None,
    faults: Annotated[
        Path | None, typer.Option("--faults", help="JSON list of faults to inject.")
    ] = None,
    limits: Annotated[
        str, typer.Option("--limits", help="Rate limits: real, off, or a factor such as 10.")
    ] = "real",
    session: Annotated[
        list[str] | None,
        typer.Option(
            "--session",
            metavar="FILE=EXCHANGE",
            help="Replay recorded frames over the exchange's protocol; may be repeated.",
        ),
    ] = None,
    session_rest: Annotated[
        list[str] | None,
        typer.Option(
            "--session-rest",
            metavar="FILE=EXCHANGE",
            help="Serve recorded REST replies for the requests they answered; may be repeated.",
        ),
    ] = None,
    speed: Annotated[
        str, typer.Option("--speed", help="Of recorded sessions: a factor, or max.")
    ] = "1",
    tls: Annotated[bool, typer.Option("--tls", help="Serve https and wss on a port, too.")] = False,
    tls_port: Annotated[
        int, typer.Option("--tls-port", min=0, max=65535, help="0 picks a free one.")
    ] = 0,
    tls_cert: Annotated[
        Path | None,
        typer.Option("--tls-cert", help="Certificate, instead of one made at the start."),
    ] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", help="Its private key.")] = None,
) -> None:
    """Serve all four exchanges on one port, from a market that a seed determines.

    When ready it prints one JSON line: {"ready": true, "url": "http://127.0.0.1:PORT"}. Each
    exchange's own paths follow its name: /binance/api/v3/klines, /okx/api/v5/market/candles.
    Recorded sessions are served at the exchange's own WebSocket paths, so that its clients can be
    run on them. With --tls the line also has tls_url and ca_file, the certificate to trust.
    Faults and the truth are at /_faults, /_truth, /_stats. Ctrl-C or SIGTERM ends it.

    Example: zvtc sim --port 8123 --candles btc.csv.gz=binance:BTC-USDT:1h
    """
    try:
        config = SimulatorConfig(
            port=port,
            seed=seed,
            candles=tuple(candles or ()),
            faults=() if faults is None else read_json(faults),
            limits=limits,
            sessions=tuple(session or ()),
            session_replies=tuple(session_rest or ()),
            session_speed=read_speed(speed),
            tls=tls or tls_cert is not None,
            tls_port=tls_port,
            tls_cert=tls_cert,
            tls_key=tls_key,
        )
        asyncio.run(serve(config, ready=lambda about: print_json(dict(about))))
    except (ValueError, OSError) as e:
        raise UsageError(str(e), remedy="`zvtc sim --help` shows the forms") from None
