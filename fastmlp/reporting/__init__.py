"""A page about a model: how it trained, what it gets right and wrong, what it is made of, and a canvas to try it on.

page.py       report and draw_page: the page as a whole
results.py    what the model says about samples, in numbers
sections.py   the parts of the page, in HTML
charts.py     curves, points and bars as SVG
pictures.py   samples and weights as small PNGs
drawing.py    the canvas and what it needs; digit.js and draw.js run it
markup.py     escaping and tables
"""

from .page import draw_page, report

__all__ = ["draw_page", "report"]
