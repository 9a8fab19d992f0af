"""What a tenant wants to follow when a run ends; a part of its backup settings."""
