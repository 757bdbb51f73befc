"""The command line: parse, call one service function, print."""

from p2pshare.cli.parser import build_parser

__all__ = ["build_parser"]
