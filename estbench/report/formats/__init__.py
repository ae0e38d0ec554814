"""The formats of a report: page, Markdown, LaTeX and terminal."""
