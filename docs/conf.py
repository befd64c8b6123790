"""How Sphinx builds the site; `make docs` lays the pages and this file into one folder first."""

project = "Rasca"
author = "the authors of Rasca"
extensions = ["myst_parser"]
root_doc = "README"
source_suffix = {".md": "markdown"}
# The anchors that GitHub gives, so that the same links hold in both places.
myst_heading_anchors = 6
myst_links_external_new_tab = False
highlight_language = "none"
nitpicky = True
html_theme = "furo"
html_title = "Rasca"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_show_copyright = False
html_use_index = False
smartquotes = False
html_copy_source = False
html_last_updated_fmt = None
pygments_style = "friendly"
