"""``python -m estbench``."""

from estbench.cli.main import main

main()
