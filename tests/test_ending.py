"""How a process of the command line ends: in order, and soon after Ctrl-C."""

import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")

# What a command does is replaced by `work`; everything around it is real.
PROGRAM = """
import atexit, os, signal, sys, threading, time, weakref

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job's children ignore it

def ctrl_c(*unused):
    os.kill(os.getpid(), signal.SIGINT)

{work}

import chinchilla_jax.datasets
chinchilla_jax.datasets.dataset_info = work
from chinchilla_jax.cli import main
sys.argv = ["chinchilla-jax", "datasets", "chinchilla"]
sys.exit(main())
"""
LONG = 60  # seconds that a command would work on


def end(work):
    """Exit code, stdout and stderr of a process with this work."""
    program = PROGRAM.format(work=textwrap.dedent(work))
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=LONG - 20
    )
    return done.returncode, done.stdout, done.stderr


INTERRUPTED = (1, "", "chinchilla-jax: error: interrupted\n")


def test_the_interpreter_is_left_whole_and_exit_handlers_run():
    """Threads of Arrow and XLA that want the GIL while it is taken apart abort the process."""
    code, out, err = end("""
        import sys

        class Kept:
            def __del__(self):
                os.write(2, b"taken apart")

        def work(name):
            sys.kept = Kept()
            atexit.register(print, "exit handler")
            threading.Timer(0.3, print, ["thread"]).start()
            return {}
    """)
    assert code == 1, "the exit code of the command"
    assert out.splitlines()[-2:] == ["thread", "exit handler"]
    assert "taken apart" not in err


@pytest.mark.slow
@pytest.mark.parametrize(
    "work",
    [
        pytest.param(
            # Python drops what is raised there.
            f"""
            class Thing: pass

            def work(name):
                thing = Thing()
                watched = weakref.ref(thing, ctrl_c)
                del thing
                for _ in range(100 * {LONG}):
                    time.sleep(0.01)
            """,
            id="dropped in a callback",
        ),
        pytest.param(
            f"""
            def work(name):
                try:
                    ctrl_c()
                except BaseException:
                    time.sleep({LONG})
            """,
            id="swallowed",
        ),
        pytest.param(
            """
            import ctypes

            def work(name):
                threading.Timer(0.1, ctrl_c).start()
                mutex = ctypes.create_string_buffer(64)
                for _ in range(2):  # the second waits for ever
                    ctypes.CDLL(None).pthread_mutex_lock(mutex)
            """,
            id="native code",
        ),
    ],
)
def test_ctrl_c_ends_the_process_with_a_line(work):
    assert end(work) == INTERRUPTED


def test_ctrl_c_leaves_no_extension_module_half_made():
    """Some ignore that an import of theirs failed, and crash when they need it."""
    assert end(f"""
        def work(name):
            for loaded in [each for each in sys.modules if "asyncio" in each]:
                del sys.modules[loaded]

            def interrupt(frame, event, value):
                if frame.f_globals.get("__name__") == "asyncio":
                    sys.setprofile(None)
                    ctrl_c()

            sys.setprofile(interrupt)
            import _asyncio  # which imports asyncio
            os.write(1, b"made" if sys.getprofile() is None else b"not interrupted")
            time.sleep({LONG})
    """) == (1, "made", INTERRUPTED[2])


def test_exit_handlers_of_what_was_interrupted_do_not_complain():
    assert (
        end("""
        def work(name):
            atexit.register(divmod, 1, 0)
            ctrl_c()
    """)
        == INTERRUPTED
    )


def test_ctrl_c_after_the_work_changes_nothing():
    code, out, err = end("""
        def work(name):
            atexit.register(ctrl_c)
            return chinchilla_jax_info(name)

        from chinchilla_jax.datasets import dataset_info as chinchilla_jax_info
    """)
    assert (code, err) == (0, "")
    assert "Hoffmann" in out
