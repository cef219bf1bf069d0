"""``manage.py clickmw …``: the command line with the site's settings."""

from __future__ import annotations

from argparse import REMAINDER, ArgumentParser
from typing import Any, ClassVar

from django.core.management.base import BaseCommand

from clickmw.cli import main
from clickmw.django.install import sources


class Command(BaseCommand):
    """Hand everything after ``clickmw`` to the command line."""

    help = "clickmw: doctor, report, check, drain … with the site's settings (see --help)."
    requires_system_checks: ClassVar[list[str]] = []

    def run_from_argv(self, argv: list[str]) -> None:
        """Run from the shell: all options are clickmw's own."""
        main.main(argv[2:], prog_name="manage.py clickmw", obj=sources())

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take what ``call_command("clickmw", …)`` gives."""
        parser.add_argument("arguments", nargs=REMAINDER)

    def handle(self, *_: Any, arguments: list[str], **_options: Any) -> None:
        """Run from code."""
        main.main(arguments, prog_name="manage.py clickmw", obj=sources(), standalone_mode=False)
