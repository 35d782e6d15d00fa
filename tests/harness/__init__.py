"""What the end-to-end tests stand on: a private PostgreSQL, a register of invented people, gates, and a raw client."""
