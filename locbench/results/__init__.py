"""Records: what they are, where they are kept, with what they were made."""
