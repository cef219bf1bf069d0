"""``python -m clickmw`` is the command line."""

from clickmw.cli import main

if __name__ == "__main__":
    main(prog_name="clickmw")
