"""Files that a stranger may send, by the thousand: `rasca strangers`. See docs/verification.md.

`kinds` says what is read and by whom, `play` judges one file, `main` changes whole files at random,
and `guided` lets Atheris find what runs new lines of the readers.
"""
