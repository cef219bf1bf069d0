"""Jinja2 templates of the report, importable as ``clickmw.templates``."""
