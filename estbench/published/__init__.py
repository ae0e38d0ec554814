"""Published results and the protocols behind them, as data; reads them without torch or pandas.

``results.csv`` holds only values that were read in a paper's text or its authors' code and logs: none read off
a plot, recalled, or taken from another's account. ``protocols.toml`` says, for each, what is known of how it was
made. Values of different protocols are no comparison; :func:`estbench.published.protocols` is there to tell.
"""

from estbench.published.tables import NOT_STATED, Protocol, PublishedResult, protocols, results, words

__all__ = ["NOT_STATED", "Protocol", "PublishedResult", "protocols", "results", "words"]
