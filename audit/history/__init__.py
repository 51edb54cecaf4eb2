"""What changed on which node when: reports kept in one small database, and what their order tells."""
