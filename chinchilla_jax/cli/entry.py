"""Start and end of every run of the command line: the one place that turns errors into exit codes.

| exit code | meaning                                                                        |
|-----------|--------------------------------------------------------------------------------|
| 0         | done                                                                           |
| 1         | something failed: a fit that is not certified, a full disk, an internal error  |
| 2         | bad input or usage: a table, a name or an option that cannot be used           |
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from chinchilla_jax._util.address_space import out_of_memory, require_address_space
from chinchilla_jax._util.errors import ChinchillaError, DataError, DataWarning, EngineWarning, UsageError
from chinchilla_jax._util.garbage import collect_seldom
from chinchilla_jax._util.progress_bar import announce_in_logs
from chinchilla_jax._util.reproducible import may_restart
from chinchilla_jax._util.text import visible
from chinchilla_jax.cli.ending import PROGRAM, OwnProcess, print_error

# Errors of writing alone: a full disk or quota, a limit on the size of a file, a read-only file system.
_CANNOT_WRITE = {
    getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS") if hasattr(errno, name)
}
# What loaders of libraries, threads and XLA say where the system gives them no memory.
_NO_MEMORY = (
    "failed to map segment",
    "annot allocate memory",
    "can't start new thread",
    "RESOURCE_EXHAUSTED",
    "Out of memory",
    "error return without exception set",  # CPython's own, where an exception could not be made
    "returned NULL without setting an exception",
)
DEBUG_VARIABLE = "CHINCHILLA_JAX_DEBUG"
FAILED, BAD_INPUT = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: what follows the program's name; None for those of this process.

    Returns:
        The exit code. Errors are one line on stderr; nothing is raised.
    """
    for stream in (sys.stdout, sys.stderr):
        # The name of a table may contain characters that the terminal's encoding lacks.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if arguments is not None:
        return _code_of(arguments, print_error)
    collect_seldom()
    process = OwnProcess()
    try:
        code = _code_of(sys.argv[1:], process.last_line, own=True)
    except KeyboardInterrupt:  # while an error was printed
        code = FAILED
    return process.end(code)


def _code_of(arguments: Sequence[str], say: Callable[[str], None], *, own: bool = False) -> int:
    """The exit code; an error is said in a line. `own` says that the process is the command line's."""
    try:
        if own:
            announce_in_logs()
            may_restart()
        with _warnings_in_a_line():
            code = _run(arguments, say)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        say("interrupted")
        return FAILED
    except OSError as error:
        _discard_stdout()
        # A reader that has seen enough, such as `| head`, needs no message.
        return FAILED if isinstance(error, BrokenPipeError) else _report(error, say)
    except Exception as error:
        return _report(error, say)


def _run(arguments: Sequence[str], say: Callable[[str], None]) -> int:
    try:
        import click

        from chinchilla_jax._util.blas_threads import keep_blas_to_one_thread
        from chinchilla_jax._util.kept_programs import keep_programs_of_process
        from chinchilla_jax.cli import app
        from chinchilla_jax.cli.arrow_memory import take_arrow_memory_from_system
        from chinchilla_jax.cli.native_logs import keep_native_logs_quiet
    except ModuleNotFoundError as error:
        raise ChinchillaError(f"the command line needs {error.name}: pip install {error.name}") from error
    if instruction := os.environ.get(app.COMPLETE_VARIABLE):
        return app.complete(PROGRAM, instruction)
    if arguments and not {"--help", "--version"}.intersection(arguments):
        require_address_space()
    keep_programs_of_process()
    keep_blas_to_one_thread()
    take_arrow_memory_from_system()
    keep_native_logs_quiet()
    try:
        return app.run(PROGRAM, arguments)
    except click.ClickException as error:
        text = " ".join(error.format_message().split()).rstrip(".").replace(". (Did you", " (did you")
        context = getattr(error, "ctx", None)
        see = f"see {context.command_path if context else PROGRAM} --help"
        say(f"{text[:1].lower()}{text[1:]}{'' if text.endswith('?') else ';'} {see}")
        return BAD_INPUT


@contextlib.contextmanager
def _warnings_in_a_line() -> Iterator[None]:
    """Print this package's own warnings as one line on stderr, each text once; leave all others alone."""
    printed = set()
    with warnings.catch_warnings():
        for own in (DataWarning, EngineWarning):
            warnings.simplefilter("always", own)
        other = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *rest: Any) -> None:
            text = " ".join(str(message).split())
            if not issubclass(category, DataWarning | EngineWarning):
                other(message, category, *rest)
            elif text not in printed:
                printed.add(text)
                print(f"{PROGRAM}: warning: {visible(text)}", file=sys.stderr)

        warnings.showwarning = show  # type: ignore[assignment]
        yield


def _report(error: Exception, say: Callable[[str], None]) -> int:
    if os.environ.get(DEBUG_VARIABLE):
        import traceback

        traceback.print_exception(error)
    if isinstance(error, ChinchillaError):
        say(str(error))
        return BAD_INPUT if isinstance(error, DataError | UsageError) else FAILED
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError) or any(sign in text for sign in _NO_MEMORY):
        say(out_of_memory(text[:120]))
    elif isinstance(error, OSError) and error.strerror:
        place = error.filename or "stdout"
        if error.errno in _CANNOT_WRITE:
            room = "" if error.errno == errno.EROFS else "make room there, or "
            say(f"{place}: cannot be written ({error.strerror}); {room}give another path")
        else:
            say(f"{place}: {error.strerror}")
    else:
        say(f"{type(error).__name__}: {error} (set {DEBUG_VARIABLE}=1 to see where)")
    return FAILED


def _discard_stdout() -> None:
    """Discard what is still buffered, which cannot be written, so that the flush at exit does not fail."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
