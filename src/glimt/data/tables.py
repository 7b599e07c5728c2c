"""The tables, as they are today. How they came to be is in `migrations`.

Times are Unix seconds. Bodies of responses are JSON, stored as the bytes that were sent.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
)

METADATA: Final = MetaData()

RESPONSES: Final = Table(
    "responses",
    METADATA,
    Column("id", String(128), primary_key=True),
    Column("tenant", String(64), nullable=False),
    # No foreign key: a response outlives the one that it continues when that is deleted.
    Column("previous_id", String(128), nullable=True),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("responses_expire", "expires_at"),
)

RESPONSE_ITEMS: Final = Table(
    "response_items",
    METADATA,
    Column(
        "response_id",
        String(128),
        ForeignKey("responses.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    # Inputs first, then outputs, each in order.
    Column("is_output", Boolean, primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("item_id", String(128), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("response_items_ids", "item_id"),
)

MEASUREMENTS: Final = Table(
    "measurements",
    METADATA,
    # A process names itself anew each time it starts, and counts what it writes.
    Column("writer", String(32), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("deployment", String(255), primary_key=True),
    Column("written_at", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("measurements_written", "written_at"),
)
