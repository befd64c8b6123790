"""Boards: from pins to a decision. One file a block, one file a board."""
