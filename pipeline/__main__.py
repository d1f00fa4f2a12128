"""`python -m pipeline` and the `pipeline` command."""

import atexit
import os
import sys

from pipeline.cli import main


def run() -> None:
    """Run the command line and leave at once: taking torch and mlflow apart piece by piece costs up to two seconds."""
    code: int | str | None = 1
    try:
        main()
    except SystemExit as stopped:
        code = stopped.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    run()
