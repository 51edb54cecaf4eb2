"""The reproducibility auditor: why the same code gives different results on another machine, and the proof."""

__version__ = "0.1.0"
