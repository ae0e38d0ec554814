"""The texts and tables of a report, independent of the output format."""
