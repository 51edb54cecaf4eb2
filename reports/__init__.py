"""The file of a run, the result of a comparison, what every fact means, and how all of it is shown.

Contract: the standard library, msgspec and rendering libraries; never `audit` or `probes`. A rendering is a pure
function from a typed value to text. `tests/test_floors.py` enforces it.
"""
