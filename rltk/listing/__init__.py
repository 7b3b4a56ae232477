"""``rltk plugins``: every plugin and its state at once, by running what is light and reading what is not."""
