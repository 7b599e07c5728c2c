"""What was measured of deployments, in the order in which each process wrote it."""

import sqlalchemy as sa
from alembic import op

revision = "r0002"
down_revision = "r0001"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "measurements",
        sa.Column("writer", sa.String(32), primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("deployment", sa.String(255), primary_key=True),
        sa.Column("written_at", sa.BigInteger, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_index("measurements_written", "measurements", ["written_at"])


def downgrade() -> None:
    """Drop it, with what it holds."""
    op.drop_table("measurements")
