"""The machines that have enough clips of both domains."""

from dataclasses import replace

import numpy as np

from ensemble.domains.clips import LEAST, Clips


def test_a_machine_needs_enough_bank_clips_of_each_domain() -> None:
    machine = np.repeat(["fan", "gearbox", "pump"], 8)
    target = np.tile(np.arange(8) < LEAST, 3)
    target[8] = False
    clips = Clips(machine, np.full(24, "00"), target, np.ones(24, dtype=bool), np.arange(24) % 3)
    assert [clips.part(rows).machine[0] for rows in clips.of_machines()] == ["fan", "pump"]
    bank = np.arange(24) != 16  # a target clip of the last machine
    assert [clips.machine[rows[0]] for rows in replace(clips, bank=bank).of_machines()] == ["fan"]
