"""`python -m dccrn_cli`."""

from dccrn_cli.cli.app import main

if __name__ == "__main__":
    main()
