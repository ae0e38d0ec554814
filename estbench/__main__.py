"""``python -m estbench``."""

from estbench.cli import main

main()
