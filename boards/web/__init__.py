"""A page that shows a board at work in a browser.

::

    serial port ─► BoardLink ─┐
    bytes of a small board ───┼─► Feed ─► server ─► page.html, page.css, page.js
    recorded packets ─► Replay┘

`feed` owns what there is to show, and its bounds; `link` and `replay` fill it, each in a thread of
its own; `server` hands it to the browsers, and their thresholds to the link.
"""
