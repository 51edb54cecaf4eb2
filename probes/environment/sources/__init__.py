"""Ways of reading that several facets share: executed instructions, ELF files, mapped objects, owners, cgroups.

Contract: nothing here records a fact. A function returns what it read or raises: Absent with a reason for a person, or
OSError as the system gave it. Standard library only, except `portable` (psutil, guarded).
"""
