"""What outlives a process: one database, and what is kept in it.

SQLAlchemy Core over SQLite (a file in the home folder) or PostgreSQL (by URL); tables come and
change with Alembic. Knows bytes, ids, owners and times; no wire format and no HTTP.
"""
