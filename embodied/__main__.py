"""`python -m embodied COMMAND`, the same as the program `embodied`."""

from .commands import main

if __name__ == '__main__':
    main()
