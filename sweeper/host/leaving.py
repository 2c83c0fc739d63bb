"""The end of a process: what Python does at its end, without the tear-down.

It never frees what is loaded: taking torch apart object by object takes over a second
in a trial, where it copies every page that the template shares with its trials.
"""

import atexit
import contextlib
import gc
import io
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO


def leave(code: int) -> None:
    """End this process as the interpreter would; it never returns."""
    try:
        finish()
    finally:  # nothing that a project left behind may keep its process from ending
        os._exit(code)


def finish() -> None:
    """Do what the interpreter does at its end, but for the tear-down.

    Threads are waited for, exit handlers run (temporary folders, pools and loggers end
    in them), what nothing refers to is finalized, and files that were left open keep
    what was written to them.
    """
    threading._shutdown()  # type: ignore[attr-defined]  # the interpreter calls it
    atexit._run_exitfuncs()
    gc.collect()
    close_files()


@contextlib.contextmanager
def forked_here() -> Iterator[None]:
    """End at the end of the block each process that was forked within it.

    A forked process that returns, raises or calls `sys.exit` would else do what only
    the process around the block may do.
    """
    pid, code = os.getpid(), 0
    try:
        yield
    except SystemExit as end:
        if os.getpid() == pid:
            raise
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        if os.getpid() == pid:
            raise
        traceback.print_exc()
        code = 1
    if os.getpid() != pid:
        leave(code)


def close_files() -> None:
    """Close every open file, outer layers before what they wrap.

    Of a heap that was frozen before, only files made since: the others are not this
    process's to close.
    """
    kept = _standard()
    # By type, not by isinstance: that would run code of proxies and lazy modules.
    objects = gc.get_objects()
    types = {t for t in set(map(type, objects)) if issubclass(t, io.IOBase)}
    found = [o for o in objects if type(o) in types]
    files = [file for file in found if id(file) not in kept]
    for file in sorted(files, key=_depth):
        if not file.closed:
            _close(file)
    flush()


def flush() -> None:
    """Flush the standard streams, whatever a project put in their place."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # closed, or an object without `flush`
            stream.flush()


def restore_streams(stdout: TextIO, stderr: TextIO, *, log: Path) -> None:
    """Put the standard streams of before a target back in place, open.

    Args:
        log: where a stream that the target closed goes on.
    """
    flush()
    if stdout.closed or stderr.closed:
        path = log if log.exists() else Path(os.devnull)
        # Open until the process ends.
        spare = path.open("a", encoding="utf-8", buffering=1)
        stdout = spare if stdout.closed else stdout
        stderr = spare if stderr.closed else stderr
    sys.stdout, sys.stderr = stdout, stderr


def _standard() -> set[int]:
    """Identities of the standard streams and of what they wrap."""
    layers: list[object] = [sys.stdin, sys.stdout, sys.stderr]
    layers += [sys.__stdin__, sys.__stdout__, sys.__stderr__]
    for name in ("buffer", "raw"):
        layers += [getattr(layer, name, None) for layer in layers]
    return {id(layer) for layer in layers}


def _depth(file: io.IOBase) -> int:
    """0 for text, 1 for what a library wraps around a buffer (gzip), 2 for a buffer."""
    if isinstance(file, io.TextIOBase):
        return 0
    return 2 if type(file).__module__ in ("io", "_io") else 1


def _close(file: io.IOBase) -> None:
    try:
        file.close()
    except (OSError, ValueError) as error:
        print(f"closing {file!r}: {error}", file=sys.stderr)
