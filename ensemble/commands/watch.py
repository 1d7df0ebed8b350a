"""`detect watch` and `detect stream`: a fitted model scores the new files of a folder, or a stream."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import click

from featstore.console import EXISTING, EXIT_ANOMALY, EXIT_REJECTED, PATH, Command, together
from featstore.errors import OptionError

if TYPE_CHECKING:
    from ensemble.watching.pcm import Source
    from ensemble.watching.scorer import Scorer
    from ensemble.watching.sinks import Sink
    from ensemble.watching.watch import WatchRequest

SECONDS = click.FloatRange(0, min_open=True)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)

Receivers = dict[str, Any]
"""Options of receiver_options by name."""

section_options = together(
    click.option("--machine", default="", help="Machine of every recording [default: from its path]."),
    click.option("--section", default="", help="Section of every recording [default: from its path]."),
)

receiver_options = together(
    click.option("--alarms-only", is_flag=True, help="Write no results to stdout, but all other lines."),
    click.option(
        "--on-alarm",
        metavar="CMD",
        help="Command to run for each alarm and alarm_end, with its JSON on stdin; no shell is used.",
    ),
    click.option(
        "--webhook", metavar="URL", help="POST each alarm and alarm_end as JSON; repeated until it is received."
    ),
    click.option(
        "--quiet",
        "quiet_s",
        type=SECONDS,
        help="Seconds without an anomaly that end an alarm [default: 3 clips, at least 30 s].",
    ),
    click.option(
        "--heartbeat",
        "heartbeat_s",
        type=SECONDS,
        default=60.0,
        show_default=True,
        help="Seconds between two heartbeats.",
    ),
    click.option(
        "--log", type=PATH, help="Log file, besides stderr; it rotates at 10 MB, and five older ones are kept."
    ),
)


@click.command(cls=Command)
@click.argument("model", type=EXISTING)
@click.argument("folder", type=FOLDER)
@section_options
@click.option("--journal", type=PATH, help="Folder of results and state [default: MODEL.journal].")
@click.option(
    "--existing",
    type=click.Choice(["score", "skip"]),
    default="score",
    show_default=True,
    help="What to do with files that are there at the first start.",
)
@click.option(
    "--settle",
    "settle_s",
    type=SECONDS,
    default=1.0,
    show_default=True,
    help="Seconds for which a file must be unchanged.",
)
@click.option(
    "--interval",
    "interval_s",
    type=SECONDS,
    default=0.5,
    show_default=True,
    help="Seconds between two scans of the folder.",
)
@click.option("--poll", is_flag=True, help="Only scan; do not use notifications of changes (package watchfiles).")
@click.option(
    "--give-up",
    "give_up_s",
    type=SECONDS,
    default=600.0,
    show_default=True,
    help="Seconds without a change after which a WAV shorter than its header states counts as truncated.",
)
@receiver_options
@click.option("--once", is_flag=True, help="Score the files that are there, then end; for cron.")
@click.option("--fail-on-anomaly", is_flag=True, help=f"--once: exit code {EXIT_ANOMALY} if any clip was anomalous.")
def watch(model: Path, journal: Path | None, poll: bool, fail_on_anomaly: bool, **options: Any) -> None:
    """Score every new recording below FOLDER with MODEL, once, as soon as it is complete.

    JSON lines on stdout: result, alarm, alarm_end, rejected, drift, heartbeat. Results and alarms are recorded in the
    journal first. After any interruption, the same command resumes: no file is left out or scored twice, and each
    alarm is delivered at least once, always with the same id.
    """
    from ensemble.scoring.model import Model
    from ensemble.watching.watch import WatchRequest

    if fail_on_anomaly and not options["once"]:
        raise OptionError("--fail-on-anomaly needs --once: without it, the watch does not end by itself")
    receivers = {name: options.pop(name) for name in ("alarms_only", "on_alarm", "webhook", "log")}
    request = WatchRequest(**options)
    place = journal or model.with_name(f"{model.name}.journal")
    code = run_watch(lambda: Model.load(model), place, request, receivers, poll=poll, fail_on_anomaly=fail_on_anomaly)
    sys.exit(code)


@click.command(cls=Command)
@click.argument("model", type=EXISTING)
@click.argument("source", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@section_options
@click.option("--rate", "rate_hz", type=click.IntRange(1), help="Sample rate of raw samples, in Hz.")
@click.option(
    "--format",
    "pcm_format",
    type=click.Choice(["s16le", "s24le", "s32le", "f32le"]),
    default="s16le",
    show_default=True,
    help="Format of raw samples.",
)
@click.option("--channels", type=click.IntRange(1), default=1, show_default=True, help="Channels of raw samples.")
@click.option("--channel", default="0", show_default=True, help="The channel that is scored: 0, 1, ... or mean.")
@click.option("--window", "window_s", type=SECONDS, help="Seconds of a window [default: those of the model].")
@click.option(
    "--hop",
    "hop_s",
    type=SECONDS,
    help="Seconds between starts of windows [default: those of the model, or half of --window].",
)
@receiver_options
@click.option(
    "--fail-on-anomaly", is_flag=True, help=f"Exit code {EXIT_ANOMALY} at the end if any window was anomalous."
)
def stream(model: Path, source: str, fail_on_anomaly: bool, **options: Any) -> None:
    """Score windows of the sound in SOURCE (a pipe, a file, or - for stdin): raw samples or a WAV.

    One JSON line per window on stdout, less than a hop after its last sample was read. If scoring is slower than the
    sound, nothing is dropped: the sound waits in a buffer of 60 s, then in the pipe. Lines and log state the delay.
    """
    from ensemble.scoring.model import Model

    def load() -> Model:
        loaded = Model.load(model)
        if loaded.policy.mixes.missing(1) is not None:
            raise OptionError(
                f"{model}: its clips were read with --channel {loaded.policy.channel}, and a stream gives one wave; "
                "score files with `detect score` or `detect watch`, or fit a model to a store of --channel 0"
            )
        return loaded

    sys.exit(run_stream(load, source, options, fail_on_anomaly=fail_on_anomaly))


def run_watch(
    load: "Callable[[], Scorer]",
    journal: Path,
    request: "WatchRequest",
    receivers: Receivers,
    *,
    poll: bool = False,
    fail_on_anomaly: bool = False,
) -> int:
    """Watch until a signal comes, or with `once` until nothing is left; the exit code."""
    from ensemble.watching.journal import Journal
    from ensemble.watching.log import ended_by_signals, open_log
    from ensemble.watching.wake import Wake
    from ensemble.watching.watch import Watch

    with ExitStack() as stack:
        say = stack.enter_context(open_log(receivers.get("log")))
        opened = stack.enter_context(Journal(journal, say=say))
        sinks = stack.enter_context(_sinks(receivers, sys.stdout, say))
        wake = stack.enter_context(Wake(request.folder, poll=poll or request.once, say=say))
        came = stack.enter_context(ended_by_signals(wake.stop))
        counts = Watch(load(), opened, request, sinks, wake=wake, say=say).run()
    if came:
        return _code_of(came)
    if fail_on_anomaly and counts.anomalous:
        return EXIT_ANOMALY
    return EXIT_REJECTED if counts.rejected else 0


def run_stream(load: "Callable[[], Scorer]", source: str, options: dict[str, Any], *, fail_on_anomaly: bool) -> int:
    """Score a stream until it ends or a signal comes; the exit code."""
    from ensemble.watching.log import ended_by_signals, open_log
    from ensemble.watching.pcm import Pcm, PcmRequest
    from ensemble.watching.stream import Stream, StreamRequest

    own = ("machine", "section", "window_s", "hop_s", "quiet_s", "heartbeat_s")
    sound = PcmRequest(options["rate_hz"], options["pcm_format"], options["channels"], _channel(options["channel"]))
    request = StreamRequest(**{name: options[name] for name in own})
    with ExitStack() as stack:
        say = stack.enter_context(open_log(options["log"]))
        sinks = stack.enter_context(_sinks(options, sys.stdout, say))
        scorer = load()
        pcm = Pcm(stack.enter_context(_opened(source)), sound)
        run = Stream(scorer, pcm, request, sinks, say=say)
        came = stack.enter_context(ended_by_signals(run.stop))
        run.run()
    if came:
        return _code_of(came)
    return EXIT_ANOMALY if fail_on_anomaly and run.anomalous else 0


@contextmanager
def _sinks(receivers: Receivers, stdout: IO[str], say: Callable[[str], None]) -> "Iterator[list[Sink]]":
    """stdout, and what the options name."""
    from ensemble.watching.sinks import Courier, Lines, checked_url, command_words, post, run_command

    deliver: dict[str, Callable[[dict[str, Any]], None]] = {}
    if receivers.get("on_alarm") is not None:
        deliver["command"] = partial(run_command, command_words(receivers["on_alarm"]))
    if receivers.get("webhook") is not None:
        deliver["webhook"] = partial(post, checked_url(receivers["webhook"]))
    couriers = [Courier(name, function, say=say) for name, function in deliver.items()]
    try:
        yield [Lines(stdout, alarms_only=bool(receivers.get("alarms_only"))), *couriers]
    finally:
        for courier in couriers:
            courier.close()


@contextmanager
def _opened(source: str) -> "Iterator[Source]":
    """The binary stream that a path or `-` names; unbuffered, because a buffer would delay samples."""
    if source == "-":
        yield cast("Source", getattr(sys.stdin.buffer, "raw", sys.stdin.buffer))
        return
    with Path(source).open("rb", buffering=0) as file:
        yield file


def _channel(channel: str) -> str:
    from featstore.audio.near_far.mixes import mixes_of
    from featstore.errors import DataError

    try:
        mixes = mixes_of(channel)
    except DataError as error:
        raise OptionError(f"--channel: {error}") from error
    if mixes.several:
        raise OptionError(f"--channel {channel}: a stream gives one wave; name one channel, or mean")
    if mixes.main.how:
        raise OptionError(
            f"--channel {channel}: a far channel is subtracted from whole clips, and a stream has none; score files of "
            "it with `detect score` or `detect watch`"
        )
    return mixes.text


def _code_of(signals: list[int]) -> int:
    """0 for a request to end, 130 for an interruption."""
    import signal

    return 130 if signal.SIGINT in signals else 0
