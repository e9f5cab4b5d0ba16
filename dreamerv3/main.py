"""Trains DreamerV3: hands the agent, its options and its checks to the command line."""

import pathlib
import sys

FOLDER = pathlib.Path(__file__).resolve().parent

# As a script, Python looks for modules in this folder instead of the one above.
if sys.path and pathlib.Path(sys.path[0]).resolve() == FOLDER:
    sys.path[0] = str(FOLDER.parent)


def main(argv=None):
    from dreamerv3 import checks, entries
    from embodied import cli

    cli.main(
        'dreamerv3.agent:make_agent',
        FOLDER / 'configs.yaml',
        checks.check,
        argv,
        'dreamerv3',
        checks.structural,
        entries.planned,
    )


if __name__ == '__main__':
    main()
