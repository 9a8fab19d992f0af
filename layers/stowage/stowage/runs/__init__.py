"""What every long job shares: its record, its dispatch, its progress, its manifest and its end."""
