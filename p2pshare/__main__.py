"""The entry point of `p2pshare` and `python -m p2pshare`."""

import sys


def main() -> None:
    """Run the command line and exit with its code."""
    from p2pshare.cli.main import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
