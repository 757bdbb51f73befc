"""DICOM at the door: sandboxed reading, media, and export."""
