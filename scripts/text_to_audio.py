"""Generates sounds of faults with a text-to-audio model, from captions made of the clips' metadata.

    python scripts/text_to_audio.py DATA OUT --weights FOLDER

FOLDER contains the weights of a diffusers AudioLDM2 pipeline; nothing is downloaded. The licence of the published
weights excludes commercial use. Sounds of a model that was not tuned on the same microphones are easy to distinguish
from recordings. So they are not used as clips but as donors (recorded.py): they are mixed into recordings.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import soundfile

from featstore.anomalies.recorded import Sound, caption_of, write_captions
from featstore.clip import Clip
from featstore.console import Meter, echo
from featstore.errors import DataError

SAMPLE_RATE_HZ = 16000
STEPS = 100
NEGATIVE = "low quality, speech, music"

Pipeline = Callable[..., Any]
"""Like AudioLDM2Pipeline of diffusers: called with a prompt, returns an object whose `audios[0]` is a wave."""


def load_pipeline(weights: Path, device: str = "cpu") -> Pipeline:
    """An AudioLDM2 pipeline from a local folder; DataError where diffusers or the weights are missing."""
    if not (weights / "model_index.json").is_file():
        raise DataError(f"{weights}: no model_index.json; expected the folder of a saved diffusers AudioLDM2 pipeline")
    try:
        from diffusers import AudioLDM2Pipeline  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise DataError("generating sounds from text needs diffusers; run pip install diffusers") from error
    try:
        pipeline = AudioLDM2Pipeline.from_pretrained(str(weights), local_files_only=True)
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{weights}: expected the weights of an AudioLDM2 pipeline: {error}") from error
    return pipeline.to(device)  # type: ignore[no-any-return]


def captions_for(clips: Sequence[Clip], per_machine: int) -> list[tuple[str, str]]:
    """Pairs (machine, caption): up to `per_machine` different captions of each machine's training clips, in order."""
    captions_by_machine: dict[str, dict[str, None]] = {}
    for clip in clips:
        captions = captions_by_machine.setdefault(clip.machine, {})
        if clip.split == "train" and not clip.variant and len(captions) < per_machine:
            captions[caption_of(clip)] = None
    return [(machine, caption) for machine, captions in sorted(captions_by_machine.items()) for caption in captions]


def generate(
    pipeline: Pipeline,
    prompts: Sequence[tuple[str, str]],
    out: Path,
    *,
    seconds: float = 10.0,
    generator: Callable[[int], object] = lambda seed: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Sound]:
    """Write one sound per (machine, caption) and captions.csv to the new folder `out`.

    generator: from a seed to the random generator for the pipeline. DataError for an empty or infinite wave.
    """
    if out.exists():
        raise DataError(f"{out}: already exists; give a new folder")
    out.mkdir(parents=True)
    sounds = []
    for i, (machine, caption) in enumerate(prompts):
        result = pipeline(
            caption,
            negative_prompt=NEGATIVE,
            num_inference_steps=STEPS,
            audio_length_in_s=seconds,
            generator=generator(i),
        )
        wave = np.asarray(result.audios[0], dtype=np.float32).reshape(-1)
        if not len(wave) or not np.isfinite(wave).all():
            raise DataError(f"expected a finite wave for {caption!r}, the pipeline returned another; check the weights")
        sound = Sound(f"{machine}_{i:04d}.wav", machine, caption)
        soundfile.write(out / sound.file, wave / max(1.0, float(np.abs(wave).max())), SAMPLE_RATE_HZ)
        sounds.append(sound)
        write_captions(out, sounds)  # after every sound, so that the sounds of an interrupted run can be used
        progress(i + 1, len(prompts))
    return sounds


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--weights", type=click.Path(path_type=Path), required=True, help="Folder of an AudioLDM2 pipeline.")
@click.option("--per-machine", default=10, show_default=True, type=click.IntRange(1), help="Captions per machine.")
@click.option("--seconds", default=10.0, show_default=True)
@click.option("--device", default="cpu", show_default=True)
def main(data: Path, out: Path, weights: Path, device: str, **options: Any) -> None:
    """Generate sounds of faults for the machines of DATA into the folder OUT."""
    import torch

    from featstore.layouts.recognise import find_clips

    try:
        prompts = captions_for(find_clips(data).clips, options["per_machine"])
        meter = Meter("sounds")
        sounds = generate(
            load_pipeline(weights, device),
            prompts,
            out,
            seconds=options["seconds"],
            generator=lambda seed: torch.Generator(device).manual_seed(seed),
            progress=meter.update,
        )
        meter.close()
    except DataError as error:
        raise click.ClickException(str(error)) from error
    echo(f"{out}: {len(sounds)} sounds; use them with featstore build --recorded-anomalies {out}")


if __name__ == "__main__":
    main()
