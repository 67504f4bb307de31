"""Where the program `lab` begins, before its modules are imported; also `python -m lab_utils`."""

import signal


def main() -> None:
    """Runs the command of `sys.argv` and exits; Ctrl-C before that ends the program at once."""
    # Python would end it with a traceback. From here on, `signals.orderly_end` ends it in order.
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from lab_utils.cli import main as run

    run()


if __name__ == "__main__":
    main()
