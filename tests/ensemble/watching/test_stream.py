"""Windows of a stream: where they lie, what they tell, and what happens at the end."""

import io
import json
from typing import Any

import numpy as np
import pytest
from watching import Clock, Kept, Listener, verdict

from ensemble.deviation.region import Region
from ensemble.watching import stream as stream_module
from ensemble.watching.alarms import utc
from ensemble.watching.pcm import Pcm, PcmRequest
from ensemble.watching.sinks import Lines
from ensemble.watching.stream import Stream, StreamRequest, Windows
from featstore.errors import DataError, OptionError

RATE = 100
BEGIN = 1_800_000_000.0


def cut(total: int, size: int, hop: int, piece: int) -> list[tuple[int, list[float]]]:
    sound = np.arange(total, dtype=np.float32)
    windows = Windows(size, hop)
    found = [window for i in range(0, total, piece) for window in windows.push(sound[i : i + piece])]
    return [(start, wave.tolist()) for start, wave in [*found, *windows.rest()]]


@pytest.mark.parametrize("piece", [1, 3, 7, 100])
@pytest.mark.parametrize(
    ("total", "size", "hop", "starts"),
    [
        (10, 4, 2, [0, 2, 4, 6]),
        (11, 4, 2, [0, 2, 4, 6, 7]),
        (9, 4, 4, [0, 4, 5]),
        (8, 4, 4, [0, 4]),
        (4, 4, 1, [0]),
        (5, 4, 3, [0, 1]),
        (3, 4, 2, [0]),
        (1, 4, 2, [0]),
        (0, 4, 2, []),
    ],
)
def test_windows_lie_on_the_hop_and_the_last_at_the_end(
    total: int, size: int, hop: int, starts: list[int], piece: int
) -> None:
    windows = cut(total, size, hop, piece)
    assert windows == [(start, list(range(start, min(start + size, total)))) for start in starts]


@pytest.mark.parametrize(("total", "starts"), [(12, [0, 4]), (13, [0, 4, 5]), (3, [0])])
def test_a_tiny_rest_needs_no_window(total: int, starts: list[int]) -> None:
    windows = Windows(8, 4, tolerance=0)
    list(windows.push(np.zeros(total, np.float32)))
    tolerant = Windows(8, 4, tolerance=1)
    found = [*tolerant.push(np.zeros(total, np.float32)), *tolerant.rest()]
    assert [start for start, _ in found] == [start for start in starts if start != 5]
    assert [start for start, _ in windows.rest()] == starts[2:] + ([0] if total == 3 else [])


def test_windows_hold_little() -> None:
    windows = Windows(100, 10)
    for _ in range(1000):
        list(windows.push(np.zeros(7, np.float32)))
        assert len(windows._held) < 107


def sound(*levels: float, seconds: float = 1.0) -> np.ndarray:
    return np.repeat(np.array(levels, "<f4"), round(seconds * RATE))


def run(
    wave: np.ndarray, *, scorer: Listener | None = None, more: tuple[Any, ...] = (), **options: Any
) -> tuple[list[dict[str, Any]], Stream, list[str]]:
    """Lines, stream and log of a run over a sound at RATE."""
    out, log = io.StringIO(), [""]
    pcm = Pcm(io.BytesIO(wave.astype("<f4").tobytes()), PcmRequest(RATE, "f32le"))
    request = StreamRequest(**{"hop_s": 1.0, "quiet_s": 1.5, "heartbeat_s": 1e9, **options})
    sinks = [Lines(out), *more]
    wall = Clock(BEGIN + len(wave) / RATE)
    stream = Stream(scorer or Listener(), pcm, request, sinks, say=log.append, clock=Clock(0), wall=wall)
    stream.run()
    return [json.loads(text) for text in out.getvalue().splitlines()], stream, log


def test_a_line_per_window_with_its_times() -> None:
    lines, stream, _ = run(sound(0.1, 0.2, 0.3, seconds=0.5), hop_s=None)
    results = [line for line in lines if line["type"] == "result"]
    assert [(line["start_s"], line["end_s"]) for line in results] == [(0, 1), (0.5, 1.5)]
    assert [line["start"] for line in results] == [utc(BEGIN), utc(BEGIN + 0.5)]
    assert results[1]["end"] == utc(BEGIN + 1.5)
    assert [round(line["score"], 2) for line in results] == [0.2, 0.3]
    assert [line["behind_s"] for line in results] == [0.5, 0]
    assert len({line["id"] for line in results}) == 2
    assert lines[-1]["type"] == "heartbeat"
    assert (lines[-1]["windows"], lines[-1]["seconds"], stream.windows) == (2, 1.5, 2)


def test_a_run_is_one_alarm_and_ends() -> None:
    other = Kept("webhook")
    lines, stream, _ = run(sound(0.1, 0.9, 0.8, 0.1, 0.1, 0.1, 0.9), more=(other,))
    events = [line for line in lines if line["type"].startswith("alarm")]
    assert [event["type"] for event in events] == ["alarm", "alarm_end", "alarm", "alarm_end"]
    assert other.messages == events
    assert (events[0]["start"], events[1]["end"], events[1]["clips"]) == (utc(BEGIN + 1), utc(BEGIN + 3), 2)
    assert (stream.alarms, stream.anomalous) == (2, 3)


def test_the_times_of_the_evidence_count_from_the_start_of_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = Listener()
    region = Region(0.25, 0.5, 100, 200, 9, 5)
    monkeypatch.setattr(scorer, "score", lambda *words, **more: [verdict(0, 1, 0.9, where=(region,))])
    lines, _, _ = run(sound(0.1, 0.1), scorer=scorer)
    assert [line["where"][0]["start_s"] for line in lines if line["type"] == "result"] == [0.25, 1.25]


def test_a_stream_shorter_than_a_window_is_one_window() -> None:
    scorer = Listener()
    lines, _, _ = run(sound(0.9, seconds=0.3), scorer=scorer)
    assert scorer.lengths == [30]
    assert [line["type"] for line in lines] == ["result", "alarm", "alarm_end", "heartbeat"]


def test_a_window_that_cannot_be_scored_is_told_and_the_next_is_scored() -> None:
    wave = sound(0.1, 0.2, 0.3)
    wave[150] = np.nan
    lines, stream, log = run(wave)
    assert [line["type"] for line in lines] == ["result", "rejected", "result", "heartbeat"]
    assert (lines[1]["reason"], lines[1]["start_s"], stream.rejected) == ("contains NaN or infinite samples", 1, 1)
    assert any("window at 1.000 s: rejected" in text for text in log)


def test_any_error_of_the_scorer_rejects_one_window(monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = Listener()
    monkeypatch.setattr(scorer, "score", lambda *words, **more: 1 / 0)
    lines, _, _ = run(sound(0.1), scorer=scorer)
    assert lines[0]["reason"] == "ZeroDivisionError: division by zero"


def test_a_stream_without_a_sample_is_an_error() -> None:
    with pytest.raises(DataError, match="ended without a sample"):
        run(sound())


def test_a_window_shorter_than_the_hop_is_refused() -> None:
    with pytest.raises(OptionError, match="--hop 2"):
        run(sound(0.1), hop_s=2.0)


def test_the_hop_of_another_window_is_half_of_it() -> None:
    scorer = Listener()
    _, stream, _ = run(sound(0.1, 0.1), scorer=scorer, window_s=0.4, hop_s=None)
    assert (stream.window_s, stream.hop_s) == (0.4, 0.2)
    assert scorer.lengths == [40] * 9


def test_falling_behind_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "LAG_LOG_S", 0)
    _, stream, log = run(sound(0.1))
    stream.feed.held = RATE
    stream._report()
    assert "behind" not in log[-1]
    stream.feed.held = 5 * RATE
    stream._report()
    assert log[-1] == "scoring is 5.0 s behind the stream; nothing is dropped, buffer 60 s"


def test_a_stop_ends_at_once() -> None:
    class Stopping(Listener):
        stream: Stream

        def score(self, wave: np.ndarray, rate_hz: int, *, machine: str, section: str) -> list[Any]:
            self.stream.stop()
            return super().score(wave, rate_hz, machine=machine, section=section)

    scorer = Stopping()
    pcm = Pcm(io.BytesIO(sound(*[0.9] * 20).tobytes()), PcmRequest(RATE, "f32le"))
    sink = Kept()
    scorer.stream = Stream(scorer, pcm, StreamRequest(), [sink], say=lambda text: None, clock=Clock(0), wall=Clock(0))
    scorer.stream.run()
    assert len(scorer.lengths) == 1
    assert sink.types() == ["alarm", "alarm_end"]
