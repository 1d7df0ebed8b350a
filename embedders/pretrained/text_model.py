"""A language model as the reader of faults described in words: any local text model of transformers.

The model is asked for one line in the grammar of `chain.py`. Its answer is data: `Chain.parse` checks it, and nothing
in it is executed. Weights are read from a folder of safetensors. Nothing is downloaded, and no code in the folder is
run.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from embedders.build_limit import BuildLimit, TooLargeError
from featstore.anomalies.chain import LEVEL, LEVELS_DB, MOST_STEPS, STEPS, Chain
from featstore.errors import DataError, reason_of

NEW_TOKENS = 96

Generate = Callable[[str], str]
"""Prompt to the text that follows it."""


def model_reader(folder: Path) -> Callable[[str], Chain]:
    """The reader that a folder of a saved text model gives; DataError where it cannot be loaded."""
    return TextModelReader(load_model(folder), str(folder))


class TextModelReader:
    """Asks a model for the chain of a fault; called with words, returns a Chain."""

    def __init__(self, generate: Generate, name: str) -> None:
        self.generate = generate
        self.name = name

    def __call__(self, words: str) -> Chain:
        """The chain of the first line of the answer; DataError where it is none."""
        answer = self.generate(prompt_of(words))
        line = next((line.strip() for line in answer.splitlines() if line.strip()), "")
        try:
            return Chain.parse(line)
        except DataError as error:
            raise DataError(
                f"{self.name}: answered {line!r:.80} for {words!r:.80}, which is no chain of transforms ({error}); "
                "take another model, write the chain yourself, or leave the model out"
            ) from error


def prompt_of(words: str) -> str:
    """Instruction with all transforms and their parameters, two examples, and the fault."""
    low, high = LEVELS_DB
    lines = [
        f"- {name}" + "".join(f", {key} {a:g} to {b:g}" for key, (a, b) in kind.parameters.items())
        for name, kind in STEPS.items()
    ]
    return "\n".join(
        [
            f"Turn the fault of a machine into one line of 1 to {MOST_STEPS} sound transforms joined by +.",
            f"Every transform may have {LEVEL} ({low:g} to {high:g}), its strength. Transforms and parameters:",
            *lines,
            "Fault: bearing damage, 30 impacts per second",
            "Line: impacts:per_second=30+leak:level_db=-10",
            "Fault: slight air leak at 4 kHz",
            "Line: leak:centre_hz=4000,level_db=-6",
            f"Fault: {' '.join(words.split())}",
            "Line:",
        ]
    )


def _limit(folder: Path) -> BuildLimit:
    """The limit for the model of the safetensors in a folder: no value takes less than half a byte."""
    files = [path for path in folder.glob("*.safetensors") if path.is_file()]
    tensors = 0
    try:
        for path in files:
            with safe_open(path, framework="pt") as file:
                tensors += len(file.keys())
        return BuildLimit.of_counts(2 * sum(path.stat().st_size for path in files), tensors)
    except (OSError, SafetensorError) as error:
        reason = " ".join(reason_of(error).split())[:200]
        raise DataError(f"{folder}: not a text model that can be loaded ({reason})") from error


def load_model(folder: Path) -> Generate:
    """Text generation by a local model of transformers, greedy; DataError where it is missing or cannot be read."""
    if not (folder / "config.json").is_file():
        raise DataError(f"{folder}: no config.json; expected the folder of a saved text model of transformers")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    limit = _limit(folder)
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), **options)
        with limit:
            model, report = AutoModelForCausalLM.from_pretrained(
                str(folder), use_safetensors=True, output_loading_info=True, **options
            )
    except TooLargeError as error:
        raise DataError(f"{folder}: config.json is of a larger model than the weights; save the model again") from error
    except Exception as error:  # transformers checks few values of a config: a wrong one can raise anything
        reason = " ".join(reason_of(error).split())[:200]
        raise DataError(f"{folder}: not a text model that can be loaded ({reason})") from error
    absent = sorted({*map(str, report["missing_keys"]), *(str(key[0]) for key in report["mismatched_keys"])})
    if absent:
        raise DataError(f"{folder}: the weights lack {absent[0]}, or it has another shape; save the model again")
    model.eval()

    def generate(prompt: str) -> str:
        inputs = tokenizer(prompt, return_tensors="pt")
        n = inputs["input_ids"].shape[1]
        longest = getattr(model.config, "max_position_embeddings", None) or n + NEW_TOKENS
        if n + NEW_TOKENS > longest:
            raise DataError(f"{folder}: reads {longest:,} tokens; the question has {n:,}, and an answer {NEW_TOKENS}")
        try:
            output = model.generate(**inputs, max_new_tokens=NEW_TOKENS, do_sample=False)
            text: str = tokenizer.decode(output[0, n:], skip_special_tokens=True)
        except Exception as error:  # such as a tokenizer of another model, whose numbers this one does not know
            raise DataError(f"{folder}: the model gives no answer ({reason_of(error)[:200]})") from error
        return text

    return generate
