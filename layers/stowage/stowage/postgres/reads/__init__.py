"""Records and rows as clients and files see them."""
