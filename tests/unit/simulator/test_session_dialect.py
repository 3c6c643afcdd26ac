"""What the replay knows of the exchanges holds for any text a file or a client may have."""

import gzip
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.simulator.recording import Recording
from zvt_crypto.simulator.session_dialect import Dialect, Part, Replies
from zvt_crypto.simulator.session_dialects import DIALECTS

WORDS = (
    "op", "args", "event", "arg", "channel", "instId", "topic", "success", "ret_msg", "req_id",
    "method", "params", "id", "result", "stream", "data", "e", "s", "k", "i", "type",
    "product_ids", "events", "trades", "product_id", "subscriptions", "subscribe", "SUBSCRIBE",
    "unsubscribe", "ping", "pong", "level2", "l2_data", "heartbeats", "error", "code",
)  # fmt: skip
SCALARS = st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(WORDS) | st.text()
VALUES = st.recursive(
    SCALARS,
    lambda own: (
        st.lists(own, max_size=4) | st.dictionaries(st.sampled_from(WORDS), own, max_size=5)
    ),
    max_leaves=12,
)
TEXTS = st.text() | VALUES.map(json.dumps)
EVERY = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=list(DIALECTS))


@EVERY
@given(text=TEXTS)
def test_any_text_can_be_heard_and_asked(dialect: Dialect, text: str) -> None:
    # when a text stands in a recording, or comes from a client
    heard = dialect.hear(text)
    ask = dialect.ask(text)
    replies = Replies()
    replies.note(heard, text)

    # then it is something, and the answer is text that can be sent
    assert isinstance(heard.part, Part)
    for answer in dialect.answer(ask, Replies(), ["a:b"]):
        assert answer == "pong" or isinstance(json.loads(answer), dict)
    assert isinstance(dialect.fit(text, "/ws"), str)


@EVERY
@given(topic=st.text())
def test_a_stream_has_one_loose_spelling(dialect: Dialect, topic: str) -> None:
    loose = dialect.loose(topic)
    assert dialect.loose(loose) == loose
    assert isinstance(dialect.instrument(topic), str)


@EVERY
@given(
    connections=st.lists(st.text() | st.sampled_from((
        "wss://ws.okx.com:8443/ws/v5/public", "wss://stream.bybit.com/v5/public/spot",
        "wss://fstream.binance.com/stream", "fixture:a", "",
    )), max_size=4),
    path=st.sampled_from(("/", "/ws/v5/public", "/v5/public/spot", "/stream", "/fstream/ws")),
)  # fmt: skip
def test_what_a_client_gets_is_among_what_is_there(
    dialect: Dialect, connections: list[str], path: str
) -> None:
    assert dialect.choose(connections, "", path) <= set(connections)


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "t": st.none() | st.floats(0, 2e9),
            "conn": st.sampled_from(("wss://a/b", "wss://a/c")),
            "dir": st.sampled_from(("in", "out")),
            "raw": st.text(),
        },
        optional={"mono_ns": st.integers(0, 2**62), "note": st.text()},
    ),
    min_size=1,
    max_size=30,
)


@given(rows=ROWS, packed=st.booleans())
def test_a_recording_plays_what_was_received_in_order(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], packed: bool
) -> None:
    # given any file of the layout
    path = tmp_path_factory.mktemp("recording") / "file"
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(text) if packed else text)
    received = [row for row in rows if row["dir"] == "in"]
    recording = Recording(path)
    if not received:
        with pytest.raises(ValueError, match="no received frame"):
            list(recording.survey())
        return

    # when it is read through and played
    surveyed = [frame.text for frame in recording.survey()]
    played = list(recording.play({"wss://a/b"}))

    # then frames are as they were, times never fall, and each connection has its own
    assert surveyed == [row["raw"] for row in received]
    assert [f.text for f in played] == [r["raw"] for r in received if r["conn"] == "wss://a/b"]
    assert [f.at_s for f in played] == sorted(f.at_s for f in played)
    assert recording.frames == len(received)
    assert all(frame.at_s >= recording.first_s for frame in played)


@given(at=st.integers(0, 400), mask=st.integers(1, 255))
def test_a_damaged_file_is_told_or_read(
    tmp_path_factory: pytest.TempPathFactory, at: int, mask: int
) -> None:
    rows = [{"t": n, "dir": "in", "raw": f"{n * 7919}"} for n in range(200)]
    body = bytearray(gzip.compress("\n".join(map(json.dumps, rows)).encode(), mtime=0))
    body[at % len(body)] ^= mask
    path: Path = tmp_path_factory.mktemp("recording") / "file"
    path.write_bytes(body)
    with suppress(ValueError):
        list(Recording(path).survey())


@given(cut=st.integers(1, 400), packed=st.booleans())
def test_a_file_cut_off_anywhere_plays_whole_frames_only(
    tmp_path_factory: pytest.TempPathFactory, cut: int, packed: bool
) -> None:
    rows = [{"t": n, "conn": "c", "dir": "in", "raw": f'{{"n":{n}}}'} for n in range(6)]
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    body = gzip.compress(text, mtime=0) if packed else text
    path: Path = tmp_path_factory.mktemp("recording") / "file"
    path.write_bytes(body[:cut])
    recording = Recording(path)
    frames: list[str] = []
    with suppress(ValueError):  # nothing whole is left of it
        frames += (frame.text for frame in recording.survey())
    assert frames == [row["raw"] for row in rows][: len(frames)]
    if packed:
        assert recording.cut_off or cut >= len(body)
    else:
        begun = len(body[:cut].split(b"\n")) - body[:cut].endswith(b"\n")
        assert recording.cut_off is (len(frames) < begun)
