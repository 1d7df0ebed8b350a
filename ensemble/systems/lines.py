"""The command lines that run a system, from its training to its scores."""

from collections.abc import Mapping
from pathlib import Path

from ensemble.systems.system import CHANNEL, GRIDS, TRANSLATOR, Choice, System


def command_lines(
    system: System,
    *,
    data: str = "DATA",
    store: str = "STORE",
    checkpoint: str = "",
    settings: tuple[str, ...] = (),
    machines: tuple[str, ...] = (),
    faults: str = "FAULTS.csv",
) -> list[list[str]]:
    """The command lines that run the system, in order, each as a list of words.

    Further `settings` (KEY=VALUE; translator.KEY=VALUE) replace those of the system; a `channel` among them also that
    of the build. The embedding is stored under the system's name. A system that chooses its detector does so for each
    of the `machines`, or once for all where none is named. faults: file of confirmed faults, which a translator learns.
    """
    given = dict(item.split("=", 1) for item in settings)
    changes = {CHANNEL: system.channel} if system.channel else {}
    changes |= {key: text for key, text in given.items() if not key.startswith(TRANSLATOR)}
    checkpoint = checkpoint or f"{system.name}.safetensors"
    lines = []
    if system.trained:
        lines.append(_training(system.embedder, data, checkpoint, {**system.settings, **changes}))
    build = ["featstore", "build", data, store, "-e", _spec(system, checkpoint, changes), "--as", system.name]
    channel = {**system.settings, **changes}.get(CHANNEL, "")
    build += ["--channel", channel] if channel else []
    if system.translator:
        translator = str(Path(checkpoint).with_name(f"{system.name}.{system.translator}.safetensors"))
        own = {key.removeprefix(TRANSLATOR): text for key, text in given.items() if key.startswith(TRANSLATOR)}
        lines.append(_training(system.translator, data, translator, {"faults": faults, **system.translation, **own}))
        build += ["--translated-faults", translator]
    if system.select:
        choosing = (line for machine in machines or ("",) for line in _choosing(system, store, machine))
        # Marks keep confirmed faults out of banks and metrics, also those that a translator has learned.
        marking = [["detect", "marks", store, "--import", faults]] if system.translator else []
        return [*lines, [*build, *_anomalies(system.select)], *marking, *choosing]
    group = ["--group-by", system.group_by] if system.group_by else []
    return [*lines, build, ["detect", "run", store, "-d", system.detector, "-e", source(system), *group]]


def source(system: System) -> str:
    """The embedding of a system as NAME or NAME@VIEW."""
    return f"{system.name}@{system.view}" if system.view else system.name


def _spec(system: System, checkpoint: str, changes: Mapping[str, str]) -> str:
    """The embedder of the build: its checkpoint and output where it is trained, else its parameters."""
    if system.trained:
        output = "" if system.output == "embedding" else f",output={system.output}"
        return f"{system.embedder}:checkpoint={checkpoint}{output}"
    parameters = {**system.network, **changes}.items()
    values = ",".join(f"{key}={text}" for key, text in parameters if key != CHANNEL)
    return f"{system.embedder}:{values}" if values else system.embedder


def _training(network: str, data: str, checkpoint: str, settings: Mapping[str, str]) -> list[str]:
    """The command that trains a network."""
    words = [word for key, text in settings.items() for word in ("--set", f"{key}={text}")]
    return ["featstore", "train", network, data, "-o", checkpoint, *words]


def _anomalies(choice: Choice) -> list[str]:
    """Options of the build that make the anomalies of a choice."""
    if choice.faults:
        return ["--anomalies", "6:described", "--described-faults", str(GRIDS / choice.faults)]
    return ["--anomalies", "auto"]


def _choosing(system: System, store: str, machine: str) -> list[list[str]]:
    """The commands that choose the detector for a machine, or for all, and run it."""
    assert system.select
    recipe = str(Path(store).parent / f"{system.name}{'.' if machine else ''}{machine}.toml")
    of_machine = ["--machine", machine] if machine else []
    grid = ["--grid", str(GRIDS / system.select.grid)] if system.select.grid else []
    strategy = [f"--strategy={system.select.strategy}"] if system.select.strategy else []
    choose = ["detect", "select", store, "-e", source(system), "-o", recipe, *grid, *strategy, *of_machine]
    return [choose, ["detect", "run", store, "--recipe", recipe, *of_machine]]
