"""Receivers of messages: stdout, a command per alarm, a webhook; the last two each in a thread."""

import json
import queue
import shlex
import shutil
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from http.client import HTTPException
from typing import IO, Any, NamedTuple, Protocol
from urllib.parse import urlsplit

from ensemble.watching.alarms import Message
from ensemble.watching.state import STDOUT
from featstore.errors import OptionError, reason_of
from featstore.terminal.shown import json_text, printable

QUEUED = 1000
"""Most messages in the queue of a thread; further ones wait in the state of the journal."""

COMMAND_S = 30.0
POST_S = 10.0
LONGEST_PAUSE_S = 300.0
_RETRIED = (408, 429)

Say = Callable[[str], None]


class Delivery(NamedTuple):
    """A message that was delivered or given up. outcome: empty, or why it was not accepted."""

    id: str
    outcome: str = ""


class Sink(Protocol):
    """A receiver of messages. name: in the journal."""

    name: str

    def send(self, name: str, messages: Sequence[Message]) -> bool:
        """Accept messages that share one id; False if there is no room for them at present."""

    def done(self) -> list[Delivery]:
        """What was delivered, or given up, since the last call."""


class Refused(Exception):
    """Raised when a message was not accepted. again: whether another try may help."""

    def __init__(self, reason: str, *, again: bool = False) -> None:
        super().__init__(reason)
        self.again = again


class Lines:
    """Messages as JSON lines on a stream; alarms_only leaves results out. A closed stream raises BrokenPipeError."""

    name = STDOUT

    def __init__(self, stream: IO[str], *, alarms_only: bool = False) -> None:
        self.stream, self.alarms_only = stream, alarms_only
        self._done: list[Delivery] = []

    def send(self, name: str, messages: Sequence[Message]) -> bool:
        """Write them."""
        self.write(messages)
        self._done.append(Delivery(name))
        return True

    def write(self, messages: Sequence[Message]) -> None:
        """Write and flush messages whose delivery is not recorded."""
        shown = [message for message in messages if not (self.alarms_only and message["type"] == "result")]
        if shown:
            self.stream.write("".join(json_text(message) + "\n" for message in shown))
            self.stream.flush()

    def done(self) -> list[Delivery]:
        """What was written since the last call."""
        done, self._done = self._done, []
        return done


class Courier:
    """Delivers messages one by one in a thread, so that a slow receiver never delays scoring.

    deliver: raises Refused. With `again`, the message is sent again after pauses that double from 1 s up to 5 minutes;
    later messages wait, so the receiver gets them in order.
    """

    def __init__(self, name: str, deliver: Callable[[Message], None], *, say: Say) -> None:
        self.name, self.deliver, self.say = name, deliver, say
        self._waiting: queue.Queue[tuple[str, Message]] = queue.Queue(QUEUED)
        self._finished: queue.SimpleQueue[Delivery] = queue.SimpleQueue()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"watch-{name}", daemon=True)
        self._thread.start()

    def send(self, name: str, messages: Sequence[Message]) -> bool:
        """Queue messages; False when the queue is full."""
        if self._waiting.qsize() + len(messages) > QUEUED:
            return False
        for message in messages:
            self._waiting.put_nowait((name, message))
        return True

    def done(self) -> list[Delivery]:
        """What the thread has finished since the last call."""
        return [self._finished.get_nowait() for _ in range(self._finished.qsize())]

    def close(self) -> None:
        """Begin no further delivery, without waiting for a current one."""
        self._end.set()

    def _work(self) -> None:
        while not self._end.is_set():
            try:
                name, message = self._waiting.get(timeout=0.5)
            except queue.Empty:
                continue
            outcome = self._delivered(message)
            if outcome is not None:
                self._finished.put(Delivery(name, outcome))

    def _delivered(self, message: Message) -> str | None:
        """Empty if delivered, the reason if refused finally, None if `close` was called first."""
        pause_s = 1.0
        while not self._end.is_set():
            try:
                self.deliver(message)
                return ""
            except Exception as error:  # no error may end the thread
                again = isinstance(error, Refused) and error.again
                reason = printable(str(error) if isinstance(error, Refused) else f"{type(error).__name__}: {error}")[
                    :300
                ]
                when = f", tried again in {pause_s:.0f} s" if again else ""
                self.say(f"{self.name}: {message['type']} {message['id']} not delivered: {reason}{when}")
                if not again:
                    return reason
            self._end.wait(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        return None


def run_command(words: Sequence[str], message: Message) -> None:
    """Run a command with the message as JSON on its stdin, without a shell; raises Refused where it fails.

    Its stderr is that of the watch; its stdout is not read.
    """
    data = json.dumps(message).encode() + b"\n"
    try:
        done = subprocess.run(words, input=data, stdout=subprocess.DEVNULL, timeout=COMMAND_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise Refused(f"{words[0]} ran longer than {COMMAND_S:.0f} s and was ended") from error
    except (OSError, ValueError) as error:
        raise Refused(f"{words[0]}: {reason_of(error)}") from error
    if done.returncode:
        raise Refused(f"{words[0]} ended with exit code {done.returncode}")


def post(url: str, message: Message) -> None:
    """POST the message as JSON; raises Refused. Only a 2xx answer counts as received; redirects are not followed."""
    request = urllib.request.Request(
        url,
        json.dumps(message).encode(),
        {"Content-Type": "application/json", "User-Agent": "detect-watch"},
        method="POST",
    )
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=POST_S):
            return
    except urllib.error.HTTPError as error:
        error.close()
        again = error.code in _RETRIED or error.code >= 500
        raise Refused(f"HTTP {error.code} {error.reason}", again=again) from error
    except (OSError, HTTPException) as error:  # URLError is an OSError
        raise Refused(str(getattr(error, "reason", "") or error or type(error).__name__), again=True) from error


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Turns a redirect into an error, because a redirected POST would lose its content."""

    def redirect_request(self, *arguments: Any, **named: Any) -> None:
        return None


def command_words(command: str) -> list[str]:
    """Words of a command line; raises OptionError for none, or for an open quote."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise OptionError(f"--on-alarm {command!r}: {error}") from error
    if not words:
        raise OptionError("--on-alarm is empty; name a program and its arguments")
    if shutil.which(words[0]) is None:
        raise OptionError(f"--on-alarm {command!r}: there is no program {words[0]!r} on the PATH that can be run")
    return words


def checked_url(url: str) -> str:
    """The URL; raises OptionError unless it is http or https with a host."""
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        usable = is_address and parts.username is None and url.isascii() and url.isprintable() and " " not in url
    except ValueError:  # a port that is no number
        usable = False
    if not usable:
        raise OptionError(
            f"--webhook {url!r}: expected http://HOST/... or https://HOST/..., ASCII, without a user name"
        )
    return url
