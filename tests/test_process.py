"""A trial's process ends as the interpreter would end it."""

import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest

LEAVING = """
import atexit, concurrent.futures, gc, gzip, os, sys, tempfile, threading, time
gc.collect(); gc.freeze()
from sweeper.system import process
{body}
process.leave(3)
"""


def _leave(body: str, folder: Path) -> subprocess.CompletedProcess[str]:
    code = LEAVING.format(body=body)
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


@pytest.mark.parametrize(
    "body",
    [
        "file = open('out', 'w'); file.write('kept')",
        "file = open('out', 'wb'); file.write(b'kept')",
        "atexit.register(lambda: open('out', 'w').write('kept'))",
        "def write():\n"
        "    time.sleep(0.05)\n"
        "    open('out', 'w').write('kept')\n"
        "threading.Thread(target=write).start()",
        "pool = concurrent.futures.ThreadPoolExecutor()\n"
        "pool.submit(lambda: open('out', 'w').write('kept'))",
        "class Late:\n"
        "    def __del__(self):\n"
        "        open('out', 'w').write('kept')\n"
        "late = Late(); late.me = late; del late",
    ],
    ids=["text", "bytes", "atexit", "thread", "pool", "finalizer"],
)
def test_what_a_process_has_written_is_kept(body: str, tmp_path: Path) -> None:
    done = _leave(body, tmp_path)
    assert (done.returncode, done.stderr) == (3, "")
    assert (tmp_path / "out").read_text() == "kept"


def test_a_heap_that_was_not_frozen_is_left_as_well(tmp_path: Path) -> None:
    body = "gc.unfreeze(); file = open('out', 'w'); file.write('kept'); print('said')"
    done = _leave(body, tmp_path)
    assert (done.returncode, done.stderr, done.stdout) == (3, "", "said\n")
    assert (tmp_path / "out").read_text() == "kept"


def test_a_compressed_file_is_whole(tmp_path: Path) -> None:
    done = _leave("file = gzip.open('out', 'wb'); file.write(b'kept')", tmp_path)
    assert (done.returncode, done.stderr) == (3, "")
    assert gzip.decompress((tmp_path / "out").read_bytes()) == b"kept"


def test_files_of_imported_modules_and_of_functions_are_whole(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "import csv\n"
        "FILE = open('rows.csv', 'w')\n"
        "csv.writer(FILE).writerow([1, 2])\n"
        "class Writer:\n"
        "    def __del__(self): FILE.write(helper.NAME)\n"
        "import helper\n"
        "writer = Writer()\n"
        "def work():\n"
        "    file = open('local', 'w'); file.write('kept')\n"
        "    return lambda: file\n"
    )
    (tmp_path / "helper.py").write_text("NAME = 'kept'")
    body = "sys.path.insert(0, '.'); import own; hold = own.work()"
    done = _leave(body, tmp_path)
    assert (done.returncode, done.stderr) == (3, "")
    texts = {
        path.name: path.read_text() for path in tmp_path.iterdir() if path.is_file()
    }
    assert texts["rows.csv"] == "1,2\nkept"
    assert texts["local"] == "kept"


def test_what_was_printed_is_kept_and_temporary_folders_go(tmp_path: Path) -> None:
    body = "folder = tempfile.TemporaryDirectory(); print(folder.name)"
    done = _leave(body, tmp_path)
    assert (done.returncode, done.stderr) == (3, "")
    assert not Path(done.stdout.strip()).exists()
