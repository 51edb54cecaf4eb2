"""What is said, in which order, for all formats: `diff`, `show` and `run` build pages; `page.py` says what one is."""
