"""Alembic's entry: migrate the connection that `glimt.data.database` hands over."""

from alembic import context

from glimt.data.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table="glimt_version",
    # SQLite cannot change a column in place; a table is copied instead.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
