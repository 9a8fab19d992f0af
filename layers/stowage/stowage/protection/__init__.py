"""How well each tenant is protected: its last verified backup against what its schedule allows (docs/api.md)."""
