"""Where probes run. A target is a command prefix that ends in a Python interpreter; the probes travel to it."""
