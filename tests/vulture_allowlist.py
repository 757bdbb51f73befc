# What vulture takes for unused and is not, each with its reason. Not run by anything.

_.mailbox  # Card: a field of the format, for relays (docs/format.md §7)
wire_bytes  # Desk.sent in model/ports.py: a Protocol's parameter, used by those who implement it
