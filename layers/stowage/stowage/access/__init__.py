"""Who calls and how much they may: identities, keys, signed links, limits."""
