"""The first code that runs in an audited interpreter: `PREFIX python -c LOADER`, which reads it from standard input.

Contract: this file alone, before anything of the bundle is loaded, in any Python whatever (2.7 must still be able to
say that it is too old), so it uses no newer syntax and imports nothing of its own package. It adds no interpreter flags
and no variables, writes no file and no bytecode, keeps the working directory off the import path, and moves the
original standard output to a private descriptor, so that whatever else prints cannot corrupt the records.
"""

import sys

FLOOR = (3, 8)
PACKAGE = "_audit_probes"


def start(token, magic):
    """Run one request. `token` begins every record's line. Three lines of base64 follow on standard input: the request
    (JSON), the bundle (deflated JSON {module name: source}) and the same compiled (deflated, marshalled {module name:
    code}), for an interpreter with the same bytecode `magic` in hexadecimal: compiling takes longer than the facts."""
    if sys.version_info[:2] < FLOOR:
        version = "%d.%d.%d" % sys.version_info[:3]
        sys.stdout.write('\n%s {"too_old": "%s"}\n' % (token, version))
        sys.stdout.flush()
        return
    if sys.path and sys.path[0] == "":
        del sys.path[0]  # before any import: a user's own json.py in the working directory must not shadow
    import base64
    import importlib.machinery
    import importlib.util
    import json
    import marshal
    import os
    import zlib

    request, bundle, compiled = [base64.b64decode(sys.stdin.readline()) for _ in range(3)]
    line = os.dup(0)
    wire = os.dup(1)
    os.dup2(2, 1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    sys.dont_write_bytecode = True
    sources = json.loads(zlib.decompress(bundle).decode("utf-8"))
    codes = {}
    if base64.b16encode(importlib.util.MAGIC_NUMBER).decode("ascii") == magic:
        codes = marshal.loads(zlib.decompress(compiled))
    sys.meta_path.insert(0, _Memory(sources, codes, importlib.machinery.ModuleSpec))
    child = importlib.import_module(PACKAGE + ".child")
    child.serve(json.loads(request.decode("utf-8")), child.framed(token, wire), line)


class _Memory:
    """Imports the bundle's modules from memory, so that nothing is written on the audited side."""

    def __init__(self, sources, codes, spec):
        self.sources = sources
        self.codes = codes
        self.spec = spec  # importlib's class: an import statement in find_spec would ask find_spec

    def find_spec(self, name, path=None, target=None):
        if name not in self.sources:
            return None
        package = any(other.startswith(name + ".") for other in self.sources)
        return self.spec(name, self, origin="<audit " + name + ">", is_package=package)

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        name = module.__name__
        code = self.codes.get(name)
        if code is None:
            code = compile(self.sources[name], "<audit " + name + ">", "exec", dont_inherit=True)
        exec(code, module.__dict__)
