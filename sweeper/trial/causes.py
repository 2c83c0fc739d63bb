"""The innermost cause of a failure, from an exception or from a printed traceback.

Libraries wrap the error that matters: Hydra in an InstantiationException, a loader in
"Caught KeyError in DataLoader worker process 0.", a process pool in the text of a
traceback. The message of a failure names the first error, in one line.
"""

import hashlib
import itertools
import re
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MAX_LENGTH = 400  # characters of an error's text in a message
LATE_LINES = 3  # lines that a program may print between its traceback and its end
HEADER = "Traceback (most recent call last):"
CAUSED = "The above exception was the direct cause of the following exception:"
WRAPPERS = (
    *("InstantiationException", "ExceptionGroup", "BaseExceptionGroup"),
    *("SystemExit", "ChildFailedError"),
)
PACKAGE = Path(__file__).parents[1]
# What Python prints before the traceback of an error that did not end the program.
HARMLESS = ("Exception ignored in", "Exception in thread", "Error in atexit", "--- L")
FRAME = re.compile(r'^\s*File "(.+?)", line (\d+)(?:, in (.+))?$')
ERROR = re.compile(r"^([A-Za-z_][\w.]*)(?:: ?(.*))?$", re.DOTALL)
MARGIN = re.compile(r"^(?:\[rank\d+\]: ?| *\| ?)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A line of code that was running."""

    file: str
    line: int
    function: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One error.

    Attributes:
        type: name of its class, without the module.
        text: its message in one line.
        places: lines that were running, the innermost last.
    """

    type: str
    text: str = ""
    places: tuple[Place, ...] = ()

    def __str__(self) -> str:
        return f"{self.type}: {self.text}" if self.text else self.type


def chain(error: BaseException) -> list[BaseException]:
    """Return the error and what it was raised from, the innermost last."""
    errors: list[BaseException] = []
    inner: BaseException | None = error
    while inner is not None and inner not in errors:
        errors.append(inner)
        inner = _inner(inner)
    return errors


def _inner(error: BaseException) -> BaseException | None:
    if isinstance(error, BaseExceptionGroup):
        return error.exceptions[0]
    context = error.__context__
    if isinstance(error, SystemExit) and isinstance(context, KeyboardInterrupt):
        return context  # Lightning exits when it is interrupted
    return error.__cause__


def of_exception(error: BaseException) -> list[Cause]:
    """Return the errors behind an exception, the innermost last; at least one."""
    causes = []
    for link in chain(error):
        text, places = _text(link), _places(link)
        printed = of_output(text.strip().strip('"'))  # as process pools quote it
        shown = "" if printed else _in_one_line(text)
        causes.append(Cause(type=type(link).__name__, text=shown, places=places))
        causes += printed
    return causes


def _text(error: BaseException) -> str:
    try:
        text = str(error)
        if isinstance(error, SystemExit) and type(error) is SystemExit:
            text = f"sys.exit({error.code!r})"
    except Exception:  # the project's own __str__
        text = "its message cannot be shown"
    return printable(text)


def printable(text: str) -> str:
    """Return the text with what is not UTF-8 escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def _in_one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_LENGTH else line[:MAX_LENGTH] + " ..."


def _places(error: BaseException) -> tuple[Place, ...]:
    frames = traceback.extract_tb(error.__traceback__)
    return tuple(
        Place(file=frame.filename, line=frame.lineno or 0, function=frame.name)
        for frame in frames
    )


def of_output(text: str) -> list[Cause]:
    """Return the errors of the last traceback in a text, the innermost last.

    A traceback that did not end the program is left out.
    """
    before, *blocks = MARGIN.sub("", text).split(HEADER)
    above = [before, *blocks]  # the text above each block
    for index in reversed(range(len(blocks))):
        cause = _of_block(blocks[index])
        if cause is None or _last_line(above[index]).startswith(HARMLESS):
            continue
        causes = [cause]
        while index and above[index].rstrip().endswith(CAUSED):
            index -= 1
            cause = _of_block(blocks[index])
            causes += [cause] if cause else []
        return causes
    return []


def ends_with_traceback(text: str) -> bool:
    """Return whether a program's output ends with a traceback, or soon after one."""
    *_, last = MARGIN.sub("", text).split(HEADER)
    rest = last.partition("\n\n")[2].splitlines()
    late = [line for line in rest if line.strip() and not line.startswith("wandb:")]
    return len(late) <= LATE_LINES


def _last_line(text: str) -> str:
    lines = text.rstrip().splitlines()
    return lines[-1] if lines else ""


def _of_block(block: str) -> Cause | None:
    """Return the error of the text that follows a traceback's header."""
    lines = block.lstrip("\n").splitlines()
    frames = list(itertools.takewhile(lambda line: not line or line[0] == " ", lines))
    places = [
        Place(file=file, line=int(number), function=function)
        for line in frames
        if (frame := FRAME.match(line))
        for file, number, function in [frame.groups(default="")]
    ]
    message = "\n".join(lines[len(frames) :]).partition("\n\n")[0]
    matched = ERROR.match(message)
    if matched is None:
        return None
    name, text = matched.groups(default="")
    return Cause(
        type=name.rpartition(".")[2], text=_in_one_line(text), places=tuple(places)
    )


def message(causes: Sequence[Cause], *, project: Path) -> str:
    """Return one line: the innermost error, its place, and the error it came out as."""
    inner, outer = causes[-1], causes[0]
    line = _line(causes, project)
    text = f"{inner} ({line})" if line else str(inner)
    is_wrapper = outer.type in WRAPPERS or not outer.text
    is_named = is_wrapper or str(outer) == str(inner)
    return text if is_named else f"{text}, raised as {outer}"


def _line(causes: Sequence[Cause], project: Path) -> str:
    """Return the innermost line of the project's code, else the innermost line."""
    own = (
        place
        for cause in reversed(causes)
        for place in reversed(cause.places)
        if _is_own(Path(place.file), project)
    )
    last = (cause.places[-1] for cause in reversed(causes) if cause.places)
    place = next(own, None) or next(last, None)
    if place is None:
        return ""
    path = Path(place.file)
    file = path.relative_to(project) if _is_own(path, project) else path.name
    at = f"{file}:{place.line}"
    return f"{at} in {place.function}" if place.function else at


def _is_own(path: Path, project: Path) -> bool:
    is_ours = PACKAGE in path.parents and PACKAGE / "vision" not in path.parents
    is_installed = "site-packages" in path.parts
    return project in path.parents and not is_installed and not is_ours


def digest(causes: Sequence[Cause]) -> str:
    """Return ten hex digits that name a failure: its lines of code and its type.

    The message is left out: it often holds a value that differs from trial to trial.
    """
    places = [f"{p.file}:{p.line}:{p.function}" for c in causes for p in c.places]
    text = "\n".join([*places, causes[-1].type])
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def printed(error: BaseException) -> str:
    """Return the traceback of an exception, from the project's code on."""
    below = error.__traceback__
    while below is not None and _calls_target(below.tb_frame.f_code.co_filename):
        below = below.tb_next
    if below is not None:
        error = error.with_traceback(below)
    return printable("".join(traceback.format_exception(error)))


def _calls_target(file: str) -> bool:
    """Return whether a file's functions stand between a trial's process and its target.

    Hydra's `run_job` is among them.
    """
    return PACKAGE / "trial" in Path(file).parents or file.endswith(
        "hydra/core/utils.py"
    )
