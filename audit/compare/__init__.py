"""The diff engine: typed reports in, one typed comparison out. Pure: it reads no file, clock or variable."""
