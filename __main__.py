"""`python -m polylens`: the same as the command `polylens`."""

from .cli import main

if __name__ == "__main__":
    main()
