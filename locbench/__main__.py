"""``python -m locbench``."""

from locbench.cli import main

if __name__ == "__main__":
    main()
