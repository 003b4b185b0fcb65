"""How answers are written: OTSL, HTML and Markdown tables, LaTeX."""
