"""Records compared with the published numbers, and the files of it."""
