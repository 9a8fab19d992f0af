"""Notices: a mail or a message when a run has ended, or a backup is about to expire."""
