"""From differing results to their cause: components, facts in effect, root, and the settings that would prove it."""
