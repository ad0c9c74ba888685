"""``python -m armillary``: the command line."""

from armillary.cli.main import entry

if __name__ == "__main__":
    entry()
