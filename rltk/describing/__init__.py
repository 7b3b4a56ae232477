"""Components and recipes explained: ``rltk plugins show``, ``rltk config schema``, the reference pages."""
