//! Moves a SQLite database to PostgreSQL, and loses nothing.
