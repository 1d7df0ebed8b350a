"""A warning where reported clips were recorded differently: then the recording may be what is reported."""

from collections import Counter

from ensemble.run import Detection
from featstore.terminal.shown import counted


def recorded_warning(detection: Detection) -> str:
    """How many of the reported clips differ from their bank in how they were recorded, and in what; empty for none."""
    reported = detection.decision.tolist()
    keys = [key for key, is_reported in zip(detection.clips.keys(), reported, strict=True) if is_reported]
    differing = [detection.recorded[key] for key in keys if key in detection.recorded]
    if not differing:
        return ""
    kinds = Counter(kind for of_clip in differing for kind in of_clip)
    text = ", ".join(f"{kind} {count:,}" for kind, count in kinds.most_common())
    bank = "the other clips" if detection.self_ranked else "the training clips"
    verb = "was" if len(differing) == 1 else "were"
    return (
        f"warning: {len(differing):,} of the {counted(len(keys), 'reported clip')} {verb} recorded differently from "
        f"{bank} ({text}): check the recording first"
    )
