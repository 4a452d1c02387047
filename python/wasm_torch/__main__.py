"""`python -m wasm_torch`: the command line, the same as the program `wasm-torch`."""

import signal
import sys


def main() -> int:
    """Runs the command line with the process's arguments; gives the exit code."""
    from . import _native

    # The compiler holds no Python code that could see an interrupt.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return _native.command_line(["wasm-torch", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
