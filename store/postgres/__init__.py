"""PostgreSQL: each nature a schema of one database, with any number of collectors and exporters."""
