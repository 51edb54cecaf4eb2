"""What only the program's own process can say of it: the files that it loaded, and facts in effect."""

import contextlib
import hashlib
import os
import sys
import sysconfig
from typing import Dict, Iterator, Optional

from ..digest import DIGEST_BYTES

_FILES = 500
"""Files of the program whose digests a report holds."""

_INSTALLED = (os.sep + "site-packages" + os.sep, os.sep + "dist-packages" + os.sep)


def main_file() -> Optional[str]:
    """The program's first file, where it has one; not known any more at the process's end."""
    path = getattr(sys.modules.get("__main__"), "__file__", None)
    return os.path.realpath(path) if isinstance(path, str) else None


def working_folder() -> str:
    """Where the program works, "/" where that folder was removed."""
    try:
        return os.getcwd()
    except OSError:
        return os.sep


def sources(main: Optional[str]) -> Dict[str, str]:
    """The files that were loaded from the program's folder, by their name in it, with digests of what they hold now.
    The folder is that of `main_file`, or else the working folder."""
    folder = (os.path.dirname(main) if main else os.path.realpath(working_folder())).rstrip(os.sep) + os.sep
    library = sysconfig.get_paths()["stdlib"] + os.sep
    named = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    paths = [os.path.join(working_folder(), path) for path in named if isinstance(path, str)]
    real = sorted({os.path.realpath(path) for path in paths} | ({main} if main else set()))
    recorder = os.path.realpath(os.environ.get("AUDIT_RECORDING", os.devnull)) + os.sep  # it may be in there, too
    own = [path for path in real if path.startswith(folder) and not path.startswith((library, recorder))]
    found = {}
    for path in [path for path in own if not any(one in path for one in _INSTALLED)][:_FILES]:
        digest = _digest(path)
        if digest:
            found[os.path.relpath(path, folder)] = digest
    return found


def _digest(path: str) -> Optional[str]:
    try:
        with open(path, "rb") as file:
            return hashlib.blake2b(file.read(), digest_size=DIGEST_BYTES).hexdigest()
    except OSError:  # it was removed
        return None


@contextlib.contextmanager
def helpers(folder: str) -> Iterator[None]:
    """The helpers that travel with the probes can be imported in this block, and only in it: a program that looks for
    one which its environment has not must not find it."""
    before = set(sys.modules)
    sys.path.append(folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
        for name in set(sys.modules) - before:
            if getattr(sys.modules[name], "__file__", None) == os.path.join(folder, name + ".py"):
                del sys.modules[name]
