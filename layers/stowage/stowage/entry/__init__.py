"""How an event becomes a call: HTTP requests, steps of the state machine, triggers."""
