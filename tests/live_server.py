"""The real command, as a process of its own."""

import os
import signal
import subprocess
import sys
import tempfile
import time


def end_by_ctrl_c() -> None:
    """In the child: Ctrl-C ends it, also where these tests themselves run in the background, which
    children inherit."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class LitServer:
    """`python -m lit_tl.launch` in a process of its own, on a free port, from an empty folder.

    Args:
        *arguments: flags.
        environment: variables beside those of the tests.
    """

    def __init__(self, *arguments: str, environment: dict[str, str] | None = None):
        self.folder = tempfile.mkdtemp(prefix="lit_tl-test-")
        started = time.monotonic()
        with open(os.path.join(self.folder, "stderr"), "w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "lit_tl.launch", "--port", "0", *arguments],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=self.folder,
                preexec_fn=end_by_ctrl_c,
                env={**os.environ, **(environment or {})},
            )
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()
        self.seconds = time.monotonic() - started
        assert self.line.startswith("LIT is at http://"), self.line + self.errors()
        self.url = self.line.split()[3]
        self.port = int(self.url.rsplit(":", 1)[1].split("/")[0])

    def errors(self) -> str:
        """What it has written to standard error."""
        with open(os.path.join(self.folder, "stderr")) as file:
            return file.read()

    def stop(self) -> int:
        """Ctrl-C, and the exit code."""
        self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=30)
        return self.process.returncode
