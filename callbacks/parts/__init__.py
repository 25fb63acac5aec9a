"""Parts that several callbacks share; no exported callback is in here."""
