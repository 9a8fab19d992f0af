"""Telegram's Bot API (https://core.telegram.org/bots/api), as far as it is used."""
