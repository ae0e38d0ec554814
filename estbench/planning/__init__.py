"""From a suite to cells, the units of work, and the digests that they are kept under."""
