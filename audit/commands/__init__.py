"""One file a subcommand: `configure(commands)` adds its arguments, `execute(options)` does it and gives the status."""
