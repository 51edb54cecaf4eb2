"""`audit` and `python -m audit`: the process's entry. Signals are taken over before anything slow is imported."""

import sys

from probes import interrupts, streams


def main() -> int:
    """Run the command line of this process; returns the exit status."""
    interrupts.install()
    streams.open_closed()
    try:
        from audit import cli

        return cli.main()
    except KeyboardInterrupt:
        streams.say("audit: interrupted; nothing was written")
        return 2
    finally:
        interrupts.ignore()


if __name__ == "__main__":
    sys.exit(main())
