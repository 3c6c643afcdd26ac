"""Run the simulator: `python -m zvt_crypto.simulator --port 0`.

When it listens it prints one line, `{"ready": true, "url": "http://127.0.0.1:PORT"}`, and serves
until SIGTERM or SIGINT. With `--tls` the line has `tls_url` and `ca_file`, too.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from zvt_crypto.simulator.config import (
    DEFAULT_CACHE_MB,
    SimulatorConfig,
    read_json,
    read_speed,
)
from zvt_crypto.simulator.server import serve


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal; return the exit code: 2 when the arguments are wrong."""
    try:
        config = _read(_parser().parse_args(arguments))
        uvloop.run(serve(config, ready=_say_ready))
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


def _say_ready(about: Mapping[str, Any]) -> None:
    sys.stdout.write(msgspec.json.encode(about).decode() + "\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m zvt_crypto.simulator")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 picks a free port")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--candles",
        action="append",
        nargs="+",
        default=[],
        metavar="FILE=EXCHANGE:SYMBOL:INTERVAL",
        help="serve a CSV file as it is; interval 'funding' for a funding file",
    )
    parser.add_argument("--faults", type=Path, help="JSON file: a list of fault objects")
    parser.add_argument("--limits", default="real", help="real, off, or a factor")
    parser.add_argument("--trades-per-day", type=int, default=20_000)
    parser.add_argument("--extra-coins", type=int, default=0, help="more spot pairs, X0001 and on")
    parser.add_argument("--clock-offset", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--clock-speed", type=float, default=1.0)
    parser.add_argument("--compress", action="store_true")
    parser.add_argument("--cache-mb", type=int, default=DEFAULT_CACHE_MB)
    parser.add_argument("--rules-speed", type=float, default=1.0, help="of sockets' pings, limits")
    parser.add_argument("--exchange", action="append", default=[], help="serve only these")
    parser.add_argument(
        "--session",
        action="append",
        default=[],
        metavar="FILE=EXCHANGE",
        help="replay recorded frames over the exchange's protocol; may be repeated",
    )
    parser.add_argument(
        "--session-rest",
        action="append",
        default=[],
        metavar="FILE=EXCHANGE",
        help="serve recorded REST replies for what they answered",
    )
    parser.add_argument("--speed", default="1", help="of sessions: a factor, or max")
    parser.add_argument("--tls", action="store_true", help="serve https and wss, too")
    parser.add_argument("--tls-port", type=int, default=0, help="0 picks a free port")
    parser.add_argument("--tls-cert", type=Path, help="instead of a certificate made at the start")
    parser.add_argument("--tls-key", type=Path)
    return parser


def _read(options: argparse.Namespace) -> SimulatorConfig:
    faults = read_json(options.faults) if options.faults else []
    return SimulatorConfig(
        host=options.host,
        port=options.port,
        seed=options.seed,
        candles=tuple(name for group in options.candles for name in group),
        faults=tuple(faults if isinstance(faults, list) else [faults]),
        limits=options.limits,
        trades_per_day=options.trades_per_day,
        extra_coins=options.extra_coins,
        clock_offset_s=options.clock_offset,
        clock_speed=options.clock_speed,
        compress=options.compress,
        cache_mb=options.cache_mb,
        exchanges=tuple(options.exchange),
        sessions=tuple(options.session),
        session_replies=tuple(options.session_rest),
        session_speed=read_speed(options.speed),
        tls=options.tls or options.tls_cert is not None,
        tls_port=options.tls_port,
        tls_cert=options.tls_cert,
        tls_key=options.tls_key,
        rules_speed=options.rules_speed,
    )


if __name__ == "__main__":
    sys.exit(main())
