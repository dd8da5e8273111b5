"""The divisions of a network whose largest module needs the least memory."""
