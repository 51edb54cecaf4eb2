"""The entry of `python3 probes.pyz`. Signals are taken over before anything slow is imported."""

import sys
from typing import List, Optional

from . import interrupts, streams


def main(arguments: Optional[List[str]] = None) -> int:
    """Run the command line of this process; returns the exit status."""
    interrupts.install()
    streams.open_closed()
    try:
        from . import alone

        return alone.run(arguments)
    except KeyboardInterrupt:
        streams.say("probes.pyz: interrupted; nothing was written")
    except MemoryError:
        streams.say("probes.pyz: out of memory; a limit may be set (ulimit -v, or a container's)")
    except OSError as error:
        streams.say("probes.pyz: {}".format(error.strerror or error))
        streams.abandon_output()
    finally:
        interrupts.ignore()
    return 2


if __name__ == "__main__":
    sys.exit(main())
