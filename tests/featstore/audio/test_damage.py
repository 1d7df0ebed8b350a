"""Files that were cut or changed at random: a wave or a reason, never an error and never half a recording."""

import random
from pathlib import Path

import pytest
from recordings import COMPRESSED, CONTAINERS, RATE, content_of, noise

from featstore.audio.lengths import seconds_of
from featstore.audio.policy import AudioPolicy
from featstore.audio.read import read_clip, read_recording
from featstore.errors import RejectedAudio

POLICY = AudioPolicy(max_seconds=100)
TIMES = 25


@pytest.mark.parametrize("kind", [*CONTAINERS, *COMPRESSED])
def test_a_cut_file_is_never_half_a_recording(tmp_path: Path, kind: str) -> None:
    draw, content = random.Random(kind), content_of(kind, noise(1))
    for _ in range(TIMES):
        (tmp_path / "a").write_bytes(content[: draw.randrange(len(content))])
        try:
            outcome = read_recording(tmp_path / "a", RATE, POLICY).outcome
        except RejectedAudio:
            continue
        assert kind in COMPRESSED, "a container of PCM states its length"
        assert outcome, "a cut at the end of a page"


@pytest.mark.parametrize("kind", [*CONTAINERS, *COMPRESSED])
def test_changed_bytes_give_a_wave_that_the_file_can_hold_or_a_reason(tmp_path: Path, kind: str) -> None:
    draw, content = random.Random(kind), content_of(kind, noise(1))
    for _ in range(TIMES):
        changed = bytearray(content)
        for _ in range(draw.choice((1, 3, 30))):
            changed[draw.randrange(draw.choice((100, len(content))))] ^= 1 << draw.randrange(8)
        (tmp_path / "a").write_bytes(changed)
        seconds_of(tmp_path / "a")
        for name in ("a", "a#t=0.2,0.4"):
            try:
                recording = read_clip(tmp_path, name, RATE, POLICY)
            except RejectedAudio:
                continue
            assert recording.n_samples <= max(8 * len(content), 2 * RATE)
