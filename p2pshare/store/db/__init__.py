"""The vault's encrypted database, which the modules of the tables speak SQL to; only this package knows what it is."""

from p2pshare.store.db.connection import BUSY_SECONDS, Row, Value, to_the_end
from p2pshare.store.db.database import Database
from p2pshare.store.db.transaction import Transaction

__all__ = ["BUSY_SECONDS", "Database", "Row", "Transaction", "Value", "to_the_end"]
