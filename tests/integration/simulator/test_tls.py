"""The simulator speaks https and wss as well, with a certificate clients can check."""

import json
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from aiohttp import ClientConnectorCertificateError, ClientSession
from session_client import open_socket
from sim_process import simulator

from zvt_crypto.simulator.config import SimulatorConfig
from zvt_crypto.simulator.server import Simulator

FRAME = '{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[]}'
ARGUMENT = {"channel": "trades", "instId": "BTC-USDT"}


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    row = {"t": 1, "conn": "wss://ws.okx.com:8443/ws/v5/public", "dir": "in", "raw": FRAME}
    file = tmp_path / "okx.jsonl"
    file.write_text(json.dumps(row) + "\n")
    return file


async def test_both_ports_serve_http_and_sockets(recording: Path, client: ClientSession) -> None:
    config = SimulatorConfig(tls=True, sessions=(f"{recording}=okx",), session_speed=0)
    async with Simulator(config) as sim:
        # given a client that trusts the simulator's own authority, and nobody else
        assert sim.ca_file is not None
        trust = ssl.create_default_context(cafile=sim.ca_file)
        for url, context in ((sim.url, None), (sim.tls_url, trust)):
            async with client.get(f"{url}/okx/api/v5/public/time", ssl=context or True) as reply:
                assert (reply.status, (await reply.json())["code"]) == (200, "0")
            async with open_socket(f"{url}/okx/ws/v5/public", context) as socket:
                await socket.send({"op": "subscribe", "args": [ARGUMENT]})
                assert (await socket.next_json())["event"] == "subscribe"
                assert await socket.next() == FRAME

        # then one that does not is refused nothing but the trust
        with pytest.raises(ClientConnectorCertificateError):
            await client.get(f"{sim.tls_url}/okx/api/v5/public/time")
        folder = sim.ca_file.parent
        assert [file.name for file in folder.iterdir()] == ["simulator-ca.pem"]
    assert not folder.exists()


async def test_the_certificate_is_good_for_the_exchanges_own_names(client: ClientSession) -> None:
    async with Simulator(SimulatorConfig(tls=True)) as sim:
        assert sim.ca_file is not None
        trust = ssl.create_default_context(cafile=sim.ca_file)
        async with client.get(
            f"{sim.tls_url}/api/v3/time", ssl=trust, server_hostname="api.binance.com",
            headers={"Host": "api.binance.com"},
        ) as reply:  # fmt: skip
            assert "serverTime" in await reply.json()


def make_certificate(folder: Path) -> tuple[Path, Path]:
    certificate, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=IP:127.0.0.1", "-out", str(certificate), "-keyout", str(key)],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


async def test_a_given_certificate_is_used(tmp_path: Path, client: ClientSession) -> None:
    certificate, key = make_certificate(tmp_path)
    config = SimulatorConfig(tls=True, tls_cert=certificate, tls_key=key)
    trust = ssl.create_default_context(cafile=certificate)
    async with Simulator(config) as sim:
        assert sim.announce()["ca_file"] is None
        async with client.get(f"{sim.tls_url}/_clock", ssl=trust) as reply:
            assert reply.status == 200


async def test_files_that_are_no_certificate_are_refused(recording: Path) -> None:
    config = SimulatorConfig(tls=True, tls_cert=recording, tls_key=recording)
    with pytest.raises(ValueError, match="no certificate with its key"):
        async with Simulator(config):
            pass


@pytest.mark.parametrize("module", ["zvt_crypto.simulator", "zvt_crypto.cli.main sim"])
def test_the_command_prints_where_it_listens_and_whom_to_trust(
    module: str, recording: Path
) -> None:
    command = [sys.executable, "-m", *module.split(), "--port", "0", "--tls",
               "--session", f"{recording}=okx", "--speed", "max"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            assert set(ready) == {"ready", "url", "tls_url", "ca_file"}
            assert Path(ready["ca_file"]).is_file()
        finally:
            process.terminate()
            process.wait(10)
    assert not Path(ready["ca_file"]).exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--session", "nothing"], "FILE=EXCHANGE"), (["--speed", "fast"], "a factor or max"),
     (["--tls-cert", "a.pem"], "give both")],
)  # fmt: skip
def test_wrong_options_are_one_clear_line(options: list[str], message: str) -> None:
    command = [sys.executable, "-m", "zvt_crypto.simulator", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert message in done.stderr


def test_without_tls_the_line_is_as_ever() -> None:
    with simulator() as sim:
        assert sim.url.startswith("http://127.0.0.1:")
