"""Everything that runs on the audited side: facts, operators, reference jobs and their trace.

Contract: the standard library only; a framework or a helper (numpy, threadpoolctl, pynvml, psutil) is imported
guarded, inside the one file that owns it; relative imports only, because the audited side loads this package under a
private name; Python 3.8 is the floor. `tests/test_floors.py` enforces it.
"""

VERSION = 1
"""Version of the probes' record shape. It moves when a record changes meaning, not when a probe is added."""
