"""One root exception: everything that a command refuses, in one line for a person, with its exit status."""

SAME, DIFFERS, CANNOT, INCOMPLETE = 0, 1, 2, 3
"""Exit status of all commands: nothing to report; something was found; could not do it; not comparable, incomplete."""


class AuditError(Exception):
    """Something that could not be done. The message says what, where, and what to do."""

    status = CANNOT


class ReportError(AuditError):
    """A report that cannot be read, or is not one."""


class NotComparable(AuditError):
    """Nothing of a report can be compared with this machine."""

    status = INCOMPLETE


class TargetError(AuditError):
    """An interpreter that cannot be started or cannot run the probes."""
