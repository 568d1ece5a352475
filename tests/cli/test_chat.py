"""nereid chat: through a pipe, and on a terminal (a pseudo terminal) as a person uses it."""

from __future__ import annotations

import os
import pty
import select
import signal
import time
from pathlib import Path

from conftest import Nereid


def test_through_a_pipe(nereid: Nereid, default_model, device) -> None:
    done = nereid("chat", "-n", "24", *device, stdin="What is the capital of Japan?\n/exit\nmore\n")
    assert done.code == 0, done.err
    assert "Tokyo" in done.out
    assert "more" not in done.out


def test_remembers_and_forgets(nereid: Nereid, default_model, device) -> None:
    """The second turn sees the first one; after /reset it does not."""
    again = "What is the capital of Japan?"
    fresh = nereid("chat", "-n", "8", *device, stdin=f"{again}\n").out
    turns = nereid("chat", "-n", "8", *device, stdin=f"Hello\n/reset\n{again}\n").out
    assert turns.endswith(fresh)


class Terminal:
    """A program on a pseudo terminal."""

    def __init__(self, nereid: Nereid, home: Path, *args: str) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            environment = nereid.environment | {
                "HOME": str(home),
                "XDG_STATE_HOME": str(home),
                "TERM": "xterm",
                "NEREID_CACHE_DIR": nereid.environment["NEREID_CACHE_DIR"],
            }
            os.execve(nereid.binary, nereid.command(*args), environment)
        self.seen = b""

    def type(self, keys: bytes) -> None:
        os.write(self.fd, keys)

    def wait_for(self, text: bytes, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while text not in self.seen:
            assert time.monotonic() < end, f"no {text!r} in {self.seen!r}"
            if select.select([self.fd], [], [], 0.2)[0]:
                try:
                    self.seen += os.read(self.fd, 4096)
                except OSError as closed:  # the program ended
                    raise AssertionError(f"ended before {text!r}: {self.seen!r}") from closed
        self.seen = self.seen.split(text, 1)[1]

    def exit_code(self) -> int:
        end = time.monotonic() + 20
        while time.monotonic() < end:
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.fd, 4096)
                except OSError:
                    break
        while time.monotonic() < end:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.05)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        raise AssertionError(f"still there: {self.seen!r}")


def test_on_a_terminal(nereid: Nereid, default_model, device, tmp_path: Path) -> None:
    # With its kernels compiled first: a progress bar on the terminal looks like a prompt.
    assert nereid("run", "-n", "1", "Hi", *device).code == 0
    terminal = Terminal(nereid, tmp_path, "chat", "-n", "3000", "--ignore-eos", *device)
    terminal.wait_for(b"> ", 120)
    # Ctrl-C stops a reply, and the program goes on.
    terminal.type(b"Tell me a long story.\r")
    terminal.wait_for(b"story.\r\n")
    time.sleep(1)
    terminal.type(b"\x03")
    terminal.wait_for(b"> ")
    # Ctrl-C at the prompt clears the line.
    terminal.type(b"half a line\x03")
    terminal.wait_for(b"^C")
    terminal.wait_for(b"> ")
    # The arrow key brings the earlier line back; Ctrl-U clears it.
    terminal.type(b"\x1b[A")
    terminal.wait_for(b"Tell me a long story.")
    terminal.type(b"\x15/help\r")
    terminal.wait_for(b"/reset")
    terminal.wait_for(b"> ")
    terminal.type(b"\x04")
    assert terminal.exit_code() == 0
    history = (tmp_path / "nereid" / "chat_history").read_text()
    assert "story" in history
