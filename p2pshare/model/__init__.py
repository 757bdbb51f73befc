"""Frozen types that every layer speaks: ids, formats, letters, and the ports that layers meet through."""
