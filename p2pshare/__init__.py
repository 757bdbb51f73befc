"""p2pshare: a person's medical images in an encrypted vault, shared end to end with the people they choose."""

__version__ = "0.1.0"
