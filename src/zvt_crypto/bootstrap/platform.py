"""Platform: store, connectors and loader, built from settings and closed together."""

import asyncio
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from zvt_crypto.bootstrap.caching import cells_of, open_cache
from zvt_crypto.bootstrap.engine import is_new, open_store
from zvt_crypto.connectors.base import BaseCryptoConnector, Tools
from zvt_crypto.connectors.registry import CONNECTORS, build
from zvt_crypto.connectors.spec import ExchangeSpec, QuotaFact
from zvt_crypto.core.errors import BadSetting
from zvt_crypto.core.instrument import Instrument
from zvt_crypto.net.clock import ServerClock, SystemClock
from zvt_crypto.net.governor import Governor
from zvt_crypto.net.governor_shared import PairedGovernor, SharedClock, SharedState
from zvt_crypto.net.governor_state import FileState
from zvt_crypto.net.http import HttpClient, HttpConfig
from zvt_crypto.net.quota import Quota
from zvt_crypto.net.retry import RetryPolicy
from zvt_crypto.ports.cache import Cache, SharedCells
from zvt_crypto.ports.clock import Clock
from zvt_crypto.ports.store import Store
from zvt_crypto.services.latest import LatestValues
from zvt_crypto.services.loader import CryptoDataLoader, LoaderConfig, LoadRequest
from zvt_crypto.settings import ExchangeSettings, Settings
from zvt_crypto.store.memory.memory import MemoryStore

ARCHIVE_ROLE = "archive"
# A host that asks for a pause is waited for that long even by those in a hurry.
_LEAST_PATIENCE_S = 5.0


class Connectors(Mapping[str, BaseCryptoConnector]):
    """Connectors by exchange, each made when it is first asked for.

    With `cells` rate budgets are shared between machines too.
    """

    def __init__(
        self, settings: Settings, clock: Clock, scratch: Path, cells: SharedCells | None = None
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._cells = cells
        self._scratch = scratch
        self._made: dict[str, BaseCryptoConnector] = {}
        self._clients: dict[str, HttpClient] = {}
        self._states: list[FileState] = []

    def __getitem__(self, name: str) -> BaseCryptoConnector:
        if name not in CONNECTORS:
            raise KeyError(name)
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(CONNECTORS)

    def __len__(self) -> int:
        return len(CONNECTORS)

    async def close(self) -> None:
        """Close the connections of those that were made."""
        for client in self._clients.values():
            await client.close()
        for state in self._states:
            state.close()
        self._states.clear()
        self._made.clear()
        self._clients.clear()

    def _make(self, name: str) -> BaseCryptoConnector:
        spec = CONNECTORS[name].SPEC
        mine = self._settings.exchanges.of(name)
        hosts = hosts_of(spec, mine, self._settings.sim)
        net = self._settings.net
        config = HttpConfig(
            proxy=net.proxy.get_secret_value() if net.proxy else None,
            connect_timeout_s=net.connect_timeout_s,
            read_timeout_s=net.read_timeout_s,
            max_body_bytes=int(net.max_body_bytes),
            connections_per_host=mine.concurrency,
        )
        self._clients[name] = HttpClient(name, config)
        server_clock = ServerClock(self._clock)
        tools = Tools(
            http=self._clients[name],
            governors=self._governors(spec, mine, hosts, server_clock),
            clock=server_clock,
            system=self._clock,
            hosts=hosts,
            scratch=self._scratch,
            retry=RetryPolicy(budget_s=net.retry_for_s),
        )
        return build(name, tools)

    def _governors(
        self,
        spec: ExchangeSpec,
        mine: ExchangeSettings,
        hosts: Mapping[str, str],
        server_clock: ServerClock,
    ) -> dict[str, Governor]:
        """Return a governor per host role; its budget file is shared by all processes here."""
        folder = self._settings.state_dir / "budget"
        made: dict[str, Governor] = {}
        for role, url in hosts.items():
            where = urlsplit(url)
            key = "-".join((spec.name, role, (where.netloc + where.path).replace("/", "_")))
            state = FileState(folder / f"{key.replace(':', '_')}.budget")
            self._states.append(state)
            made[role] = self._governor(
                key, [_quota(fact, mine) for fact in spec.quotas.get(role, ())], state,
                mine.budget, server_clock,
            )  # fmt: skip
        return made

    def _governor(
        self,
        key: str,
        quotas: Sequence[Quota],
        state: FileState,
        share: float,
        server_clock: ServerClock,
    ) -> Governor:
        patience_s = max(self._settings.net.retry_for_s, _LEAST_PATIENCE_S)
        if self._cells is None:
            return Governor(
                key,
                quotas,
                state,
                share,
                clock=self._clock,
                server_clock=server_clock,
                patience_s=patience_s,
            )
        shared = SharedState(
            self._cells, f"{self._settings.net.egress}:{key}", SharedClock(self._clock)
        )
        return PairedGovernor(
            key,
            quotas,
            state,
            share,
            shared=shared,
            clock=self._clock,
            server_clock=server_clock,
            patience_s=patience_s,
        )


def _quota(fact: QuotaFact, mine: ExchangeSettings) -> Quota:
    return Quota(
        fact.name,
        fact.amount * mine.limit_factor,
        fact.per_s,
        kind=fact.style,
        share=min(fact.share, mine.budget),
    )


def hosts_of(spec: ExchangeSpec, mine: ExchangeSettings, sim: str | None) -> dict[str, str]:
    """Return the base URL of every host role.

    A URL in the settings beats the simulator, which beats the environment, which beats mainnet.

    Raises:
        BadSetting: the environment is none the exchange has.
    """
    hosts = dict(spec.hosts)
    if mine.environment != "mainnet":
        if mine.environment not in spec.environments:
            known = ", ".join(["mainnet", *spec.environments])
            raise BadSetting(
                f"exchanges.{spec.name}.environment", "settings", f"known here: {known}"
            )
        hosts.update(spec.environments[mine.environment])
    if sim is not None:
        hosts = dict.fromkeys(hosts, f"{sim.rstrip('/')}/{spec.name}")
    for role in hosts:
        url = mine.archive_url if role == ARCHIVE_ROLE else mine.rest_url
        if role == "linear" and mine.linear_url is not None:
            url = mine.linear_url
        if url is not None:
            hosts[role] = url.rstrip("/")
    return hosts


class Platform:
    """Everything a command or a program needs, opened and closed as one."""

    def __init__(
        self, settings: Settings, *, create: bool = True, check: Sequence[LoadRequest] = ()
    ) -> None:
        """Take what to open.

        Args:
            settings: what to build it from.
            create: whether a store that does not exist yet is made.
            check: what will be loaded; if it cannot be, no store is made for it.
        """
        self.settings = settings
        self.clock: Clock = SystemClock()
        self.store: Store
        self.connectors: Connectors
        self.loader: CryptoDataLoader
        self.cache: Cache
        self.latest: LatestValues
        self._create = create
        self._check = check
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            scratch = await asyncio.to_thread(
                stack.enter_context, tempfile.TemporaryDirectory(prefix="zvtc-")
            )
            self.cache = open_cache(self.settings, self.clock)
            stack.push_async_callback(self.cache.close)
            self.connectors = Connectors(
                self.settings, self.clock, Path(scratch), cells_of(self.cache)
            )
            stack.push_async_callback(self.connectors.close)
            listed = await self._checked()
            self.store = await open_store(
                self.settings.store, self.settings.state_dir, create=self._create
            )
            stack.push_async_callback(self.store.close)
            for exchange, instruments in listed.items():
                await self.store.write_instruments(exchange, instruments)
            self.loader = self._loader_over(self.store)
            self.latest = LatestValues(self.cache, self.store, self.clock)
            stack.push_async_callback(self.latest.close)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def _checked(self) -> dict[str, list[Instrument]]:
        """Check what will be loaded before a folder is made; return the instruments it took."""
        if not self._check or not await asyncio.to_thread(is_new, self.settings.store):
            return {}
        draft = MemoryStore()
        await self._loader_over(draft).check(self._check)
        names = {request.exchange.lower() for request in self._check}
        return {name: await draft.instruments(name) for name in names}

    def _loader_over(self, store: Store) -> CryptoDataLoader:
        load = self.settings.load
        return CryptoDataLoader(
            store,
            self.connectors,
            self.clock,
            LoaderConfig(
                parallel_series=load.parallel_series,
                concurrency={
                    name: self.settings.exchanges.of(name).concurrency for name in CONNECTORS
                },
                archive=load.archive,
                confirm=load.confirm,
                chunk_rows=load.commit_rows,
                share=load.share,
                lease_s=load.lease_s,
            ),
        )
