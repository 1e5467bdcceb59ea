"""Client-side sharding: each user's rows live in one of several databases, found by consistent hashing.

    python examples/embedding/shards.py
"""

from __future__ import annotations

import sqlite3

from lbcore.selection import Rendezvous


class Store:
    """Key-value rows over shards. The weight of a shard is its share of the keys."""

    def __init__(self, shards: dict[str, int]) -> None:
        self.place = Rendezvous(shards)
        self.files = {name: self.open() for name in shards}

    def open(self) -> sqlite3.Connection:
        database = sqlite3.connect(":memory:")
        database.execute("CREATE TABLE rows (user TEXT PRIMARY KEY, value TEXT)")
        return database

    def put(self, user: str, value: str) -> None:
        self.files[self.place.pick(user)].execute("INSERT OR REPLACE INTO rows VALUES (?, ?)", (user, value))

    def get(self, user: str) -> str | None:
        row = self.files[self.place.pick(user)].execute("SELECT value FROM rows WHERE user = ?", (user,)).fetchone()
        return row[0] if row else None

    def add_shard(self, name: str, weight: int = 1) -> int:
        """A new shard takes its share from all others; nothing else moves. Returns how many rows moved."""
        self.files[name] = self.open()
        self.place.add(name, weight)
        moved = 0
        for old, database in self.files.items():
            for user, value in database.execute("SELECT user, value FROM rows").fetchall():
                if self.place.pick(user) != old:
                    database.execute("DELETE FROM rows WHERE user = ?", (user,))
                    self.put(user, value)
                    moved += 1
        return moved

    def sizes(self) -> dict[str, int]:
        count = "SELECT count(*) FROM rows"
        return {name: database.execute(count).fetchone()[0] for name, database in self.files.items()}


def main() -> None:
    store = Store({"db-1": 1, "db-2": 1, "db-3": 2})  # the third machine is twice as large
    for number in range(4000):
        store.put(f"user-{number}", f"value {number}")
    print("rows by shard:", store.sizes())
    print("rows moved to a fourth shard:", store.add_shard("db-4"))
    print("rows by shard:", store.sizes())
    assert all(store.get(f"user-{number}") == f"value {number}" for number in range(4000))
    print("every row is where it is looked for")


if __name__ == "__main__":
    main()
