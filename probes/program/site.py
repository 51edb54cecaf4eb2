"""Laid as `sitecustomize.py` ahead on an audited program's path: every Python that the program starts runs it first.

Contract: it is instant and harmless in any Python whatever (in one too old for the probes it does nothing), so it uses
no newer syntax and imports nothing but sys and os, which are always loaded. It takes itself off the path, runs the
user's own sitecustomize as if it had not been here, and wakes the recorder when the import of a framework has ended;
how a framework is imported stays as it is.
"""

import os
import sys

PACKAGE = "_audit_probes"
FRAMEWORKS = {  # what wakes the recorder, and the file that hooks it
    "torch": "torch",
    "torch.distributed.pipelining.stage": "pipelining",
    "jax": "jax",
    "optax": "jax",
    "sklearn.base": "sklearn",
    "numpy.random": "numpy_random",
    "transformers.trainer": "scores",
    "lm_eval.evaluator": "scores",
}
STARTED = "started"
FAILED = "failed"


class _Waker(object):
    """Among the finders of modules until every framework was imported: lets the others find, and sees the end."""

    def __init__(self, folder):
        self.folder = folder
        self.left = set(FRAMEWORKS)

    def find_spec(self, name, path=None, target=None):
        if name not in self.left:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                self.hook(name, spec.loader)
                return spec
        return None

    def hook(self, name, loader):
        """Have `woken` called when this loader has executed the module, and leave the loader as it was."""

        def exec_module(module):
            del loader.exec_module
            loader.exec_module(module)
            self.woken(name)

        try:
            loader.exec_module = exec_module
        except AttributeError:  # not one of Python's own
            mark(self.folder, FAILED)

    def woken(self, name):
        self.left.discard(name)
        if not self.left and self in sys.meta_path:
            sys.meta_path.remove(self)
        try:
            load(self.folder).awake(name, self.folder)
        except Exception:
            mark(self.folder, FAILED)


class _Last(object):
    """Behind all other finders: where nothing is called `audit`, that is the file of its API, `audit/__init__.py`."""

    def __init__(self, folder):
        self.folder = folder

    def find_spec(self, name, path=None, target=None):
        if name != "audit":
            return None
        import importlib.machinery

        return importlib.machinery.PathFinder.find_spec(name, [os.path.join(self.folder, "modules")])

    def audit_api(self):
        """What the API hands on to; it finds this finder by the name of this method."""
        return load(self.folder, "api").of(self.folder)


def load(folder, name="recorder"):
    """A module beside this one, out of the folder and under its private name."""
    import importlib
    import importlib.machinery
    import importlib.util

    if PACKAGE not in sys.modules:
        spec = importlib.machinery.PathFinder.find_spec(PACKAGE, [os.path.join(folder, "modules")])
        package = importlib.util.module_from_spec(spec)
        sys.modules[PACKAGE] = package
        spec.loader.exec_module(package)
    return importlib.import_module(PACKAGE + ".program." + name)


def mark(folder, name):
    """Leave an empty file: it is all that can be said from here."""
    try:  # noqa: SIM105 - contextlib would have to be imported
        os.close(os.open(os.path.join(folder, name), os.O_WRONLY | os.O_CREAT, 0o600))
    except OSError:
        pass


def start(folder):
    if sys.version_info >= (3, 8):
        mark(folder, STARTED)
        waker = _Waker(folder)
        sys.meta_path.insert(0, waker)
        sys.meta_path.append(_Last(folder))
        for name in FRAMEWORKS:
            if name in sys.modules:  # a .pth file has imported it
                waker.woken(name)
    while folder in sys.path:
        sys.path.remove(folder)
    del sys.modules["sitecustomize"]
    import sitecustomize  # noqa: F401 - the user's own; what it raises, none at all included, `site` handles as ever


if __name__ == "sitecustomize":
    start(os.path.dirname(os.path.abspath(__file__)))
