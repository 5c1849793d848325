"""SQLite: each nature a file in the data directory, with one writing process."""
