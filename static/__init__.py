"""Browser assets, importable as ``clickmw.static``."""
