"""The database: one engine, one metadata, migrations that run by themselves.

SQLite in the state directory by default, PostgreSQL by URL (`engine`). Parts declare their tables on the shared
`metadata.METADATA`, and bring a revision in `migrations/versions`; `migrate.upgrade` applies them.
"""
