"""How the tables came to be: Alembic's scripts, run by `glimt.data.database` when it opens one."""
