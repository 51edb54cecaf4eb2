"""Hundreds of machines: one report a node, gathered on an engine that people already run, and told apart by class."""
