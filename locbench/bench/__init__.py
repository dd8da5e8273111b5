"""How fast a step is: against the plain way, backpropagation and what the device can do."""
