"""What a board shows: each output is a file here, and a line of data in the board's file."""
