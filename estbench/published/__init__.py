"""Published results and their protocols as data, which are read without torch or pandas.

``results.csv`` holds only values from a paper's text or from its authors' code and logs; no value was read off a plot,
recalled, or taken from a secondary source. ``protocols.toml`` states what is known about how each value was obtained.
Values of different protocols cannot be compared; :func:`estbench.published.protocols` gives the protocols.
"""

from estbench.published.tables import NOT_STATED, Protocol, PublishedResult, protocols, results, words

__all__ = ["NOT_STATED", "Protocol", "PublishedResult", "protocols", "results", "words"]
