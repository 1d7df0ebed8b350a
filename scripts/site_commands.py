"""Reference pages of the commands: usage, every option with its default, exit codes, examples, pages that explain it.

All of it comes from click and from the console blocks of the pages written by hand.
"""

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import click
from site_mentions import sections_where, shown_lines, title

from ensemble.cli import COMMANDS as OF_DETECT
from ensemble.cli import main as detect
from featstore.cli import COMMANDS as OF_FEATSTORE
from featstore.cli import main as featstore

PROGRAMS: dict[str, click.Group] = {"featstore": featstore, "detect": detect}
OWN = {"featstore": OF_FEATSTORE, "detect": OF_DETECT}
"""Commands of the project; the commands of other installed packages have no page here."""

DEFAULT = {"detect": "run"}
"""The command that a program runs where its first word is no command."""

EXAMPLES = 8
EXPLANATIONS = 5
"""Most examples, and most links to explanations, on a page."""

TEACHING = ("tutorials/", "howto/", "models", "operating", "review")
"""Pages that are named before others as explanations."""

EXIT_CODES = "Exit codes:"
AS_IT_IS = "\b"
"""Begins a paragraph that click shows line by line."""
OPTION = re.compile(r"(?<![\w`-])(--[a-z][a-z0-9-]*|-[a-z](?![\w-]))")
SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|])")


@dataclass(frozen=True)
class Named:
    """A command with its whole name and the context in which click describes it."""

    name: str
    command: click.Command
    context: click.Context

    @property
    def page(self) -> str:
        """Path of its page on the site."""
        rest = self.name.partition(" ")[2]
        return f"reference/commands/{self.program}/{rest.replace(' ', '_') or 'index'}.md"

    @property
    def program(self) -> str:
        """The first word."""
        return self.name.partition(" ")[0]

    @property
    def first(self) -> str:
        """The first sentence of its description."""
        return self.command.get_short_help_str(limit=200)


def all_commands() -> dict[str, Named]:
    """Every program, group and command of the project, by its whole name."""
    return {
        named.name: named
        for program, group in PROGRAMS.items()
        for named in _below(program, group, None, list(OWN[program]))
    }


def _below(
    name: str, command: click.Command, parent: click.Context | None, own: Sequence[str] | None = None
) -> Iterator[Named]:
    context = click.Context(command, info_name=name.rpartition(" ")[2], parent=parent, max_content_width=100)
    yield Named(name, command, context)
    if isinstance(command, click.Group):
        for child in own or command.list_commands(context):
            found = command.get_command(context, child)
            assert found is not None
            yield from _below(f"{name} {child}", found, context)


def command_pages(texts: Mapping[str, str]) -> dict[str, str]:
    """Markdown of the page of every command, by its path. texts: the pages written by hand, in their order."""
    commands = all_commands()
    return {named.page: page_of(named, commands, texts) for named in commands.values()}


def page_of(named: Named, commands: Mapping[str, Named], texts: Mapping[str, str]) -> str:
    """Markdown of the page of one of the commands. texts: the pages written by hand, in their order."""
    description, _, codes = (named.command.help or "").partition(EXIT_CODES)
    parts = [
        f"# {named.name}",
        _prose(description),
        f"```text\n{_usage(named)}\n```",
        _children(named, commands),
        _options(named),
        _exit_codes(named, " ".join(codes.split())),
        _examples(named, texts),
        _explained(named, texts),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _usage(named: Named) -> str:
    pieces = " ".join(named.command.collect_usage_pieces(named.context))
    short = f"\n{named.program} {pieces}" if named.name == f"{named.program} {DEFAULT.get(named.program)}" else ""
    return f"{named.name} {pieces}{short}"


def _prose(text: str) -> str:
    r"""Text of click as Markdown: paragraphs, and as code what follows a line `\b`."""
    parts = []
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        if paragraph.lstrip().startswith(AS_IT_IS):
            shown = textwrap.dedent(paragraph.partition(AS_IT_IS)[2].lstrip("\n"))
            parts.append(f"```text\n{shown}\n```")
        else:
            parts.append(_plain(" ".join(paragraph.split())))
    return "\n\n".join(parts)


def _plain(text: str) -> str:
    """Text in which nothing is Markdown, but options are code."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if i % 2 else OPTION.sub(r"`\1`", SPECIAL.sub(r"\\\1", part)) for i, part in enumerate(parts))


def _children(named: Named, commands: Mapping[str, Named]) -> str:
    children = [one for one in commands.values() if one.name.rpartition(" ")[0] == named.name]
    rows = [f"| [`{one.name}`]({_beside(one.page)}) | {_plain(one.first)} |" for one in children]
    return "\n".join(["## Commands", "", "| command | does |", "|---|---|", *rows]) if rows else ""


def _beside(page: str) -> str:
    return page.rpartition("/")[2]


def _options(named: Named) -> str:
    options = [one for one in named.command.params if isinstance(one, click.Option) and not one.hidden]
    if not options:
        return ""
    return "\n\n".join(["## Options", *(_option(one, named.context) for one in options)])


def _option(option: click.Option, context: click.Context) -> str:
    """An entry of a list of definitions, which can be linked to by the long name of the option."""
    metavar = "" if option.is_flag or option.count else f" {option.make_metavar(context)}"
    names = ", ".join(option.opts) + (f" / {', '.join(option.secondary_opts)}" if option.secondary_opts else "")
    anchor = max(option.opts, key=len).lstrip("-")
    extra = option.get_help_extra(context)
    facts = [
        "required" if "required" in extra else "",
        f"default: `{extra['default']}`" if "default" in extra else "",
        f"range: `{extra['range']}`" if "range" in extra else "",
        "may be repeated" if option.multiple else "",
    ]
    told = "; ".join(filter(None, facts))
    text = " ".join(filter(None, [_plain(option.help or ""), f"*{told[0].upper()}{told[1:]}.*" if told else ""]))
    return f"`{names}{metavar}`{{ #{anchor} }}\n:   {text}"


def _exit_codes(named: Named, codes: str) -> str:
    if named.name not in PROGRAMS:
        return f"## Exit codes\n\nThose of [every command of `{named.program}`](index.md#exit-codes)."
    rows = [part.strip().partition(" ") for part in re.split(r",(?= *\d)", codes.rstrip("."))]
    table = [f"| {code} | {_plain(meaning)} |" for code, _, meaning in rows]
    return "\n".join(["## Exit codes", "", "| code | meaning |", "|---|---|", *table])


def _examples(named: Named, texts: Mapping[str, str]) -> str:
    """Command lines of the pages written by hand."""
    lines = [line for text in texts.values() for line in shown_lines(text) if is_mentioned(named, line)]
    if not lines or named.name in PROGRAMS:
        return ""
    by_use: dict[object, str] = {}
    for line in sorted(lines, key=lambda line: "  #" not in line):  # of equal uses, one with a comment
        by_use.setdefault(_use(named, line), line)
    chosen = [line for line in dict.fromkeys(lines) if line in by_use.values()]
    return "\n".join(["## Examples", "", "```console", *chosen[:EXAMPLES], "```"])


def _use(named: Named, line: str) -> frozenset[str]:
    """What an example shows of a command: its options. Lines that differ in names and values only are one use.

    An example without any argument is a use of its own, and so is each command of a group.
    """
    parts = re.split(r"&&|[|;](?=\s)", line.partition("  #")[0])
    own = next((part for part in parts if is_mentioned(named, part)), line)
    words, name = own.partition(named.program)[2].split(), named.name.split()[1:]
    words = words[len(name) :] if words[: len(name)] == name else words
    spellings = {opt: max(option.opts, key=len) for option in named.command.params for opt in option.opts}
    options = {spellings.get(word, word) for word in words if re.match(r"--?[a-z]", word)} - {"--out"}
    return frozenset(options | set(words[:1] if isinstance(named.command, click.Group) else [str(not words)]))


def _explained(named: Named, texts: Mapping[str, str]) -> str:
    """Links to pages that mention the command, each to the section with its first mention.

    Pages that show a command line of it come first, of these tutorials and how-to pages, and of these those with most.
    """
    if named.name in PROGRAMS:
        return ""

    def rank(page: str) -> tuple[bool, bool, int]:
        shown = sum(is_mentioned(named, line) for line in shown_lines(texts[page]))
        return not shown, not page.startswith(TEACHING), -shown

    lines = []
    for page in sorted(texts, key=rank):
        text = texts[page]
        for heading, anchor in sections_where(text, partial(is_mentioned, named))[:1]:
            link = f"../../../{page}#{anchor}" if anchor else f"../../../{page}"
            lines.append(f"- [{title(text)}]({link}){f': {heading}' if heading else ''}")
    return "\n".join(["## Explained in", "", *lines[:EXPLANATIONS]]) if lines else ""


def is_mentioned(named: Named, line: str) -> bool:
    """Whether a line of code has the command; `detect STORE` is `detect run STORE`."""
    program, rest = named.program, named.name.partition(" ")[2]
    known = "|".join(OWN[program])
    short = rf"|(?!(?:{known})\b)(?=\S*\bstore\b|.*\bSTORE\b)" if rest == DEFAULT.get(program) else ""
    pattern = rf"(?<![\w./-]){program}[ ]+(?:{re.escape(rest)}(?![\w-]){short})"
    return re.search(pattern, line.partition("  #")[0]) is not None
