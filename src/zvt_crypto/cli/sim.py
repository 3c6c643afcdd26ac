"""`zvtc sim`: four exchanges in a box, for our tests and for anybody's bots."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from zvt_crypto.cli.display import print_json
from zvt_crypto.core.errors import UsageError
from zvt_crypto.simulator.config import SimulatorConfig, read_json
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
) -> None:
    """Serve all four exchanges on one port, from a market that a seed determines.

    When ready it prints one JSON line: {"ready": true, "url": "http://127.0.0.1:PORT"}. Each
    exchange's own paths follow its name: /binance/api/v3/klines, /okx/api/v5/market/candles.
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
        )
        asyncio.run(serve(config, ready=lambda url: print_json({"ready": True, "url": url})))
    except (ValueError, OSError) as e:
        raise UsageError(str(e), remedy="`zvtc sim --help` shows the forms") from None
