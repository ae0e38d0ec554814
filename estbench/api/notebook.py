"""Support for notebooks."""

import sys

from matplotlib.figure import Figure


def show_figures() -> None:
    """Makes a notebook show figures as pictures; does nothing outside a notebook, or if figures are shown already.

    IPython does the same when pyplot draws the first figure, but the figures of the report are drawn without pyplot.
    """
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is None or any(Figure in formatter for formatter in shell.display_formatter.formatters.values()):
        return
    from IPython.core.pylabtools import select_figure_formats  # noqa: PLC0415  (there, as this runs in it)

    select_figure_formats(shell, {"png"})
