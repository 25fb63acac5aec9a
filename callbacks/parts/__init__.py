"""What several callbacks share: no callback is in here."""
