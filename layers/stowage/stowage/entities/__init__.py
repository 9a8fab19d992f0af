"""The tables of a tenant that Stowage manages: how one is declared, which are, and what their filters take."""
