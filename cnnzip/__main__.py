"""``python -m cnnzip``."""

from cnnzip.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
