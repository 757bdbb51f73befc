"""The vault on disk: key files, packs, and the database of all that a person sees."""
