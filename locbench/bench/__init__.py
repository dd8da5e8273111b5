"""How fast a step is, beside the plain way, backpropagation and the device."""
