"""The integer model that defines the hardware, the float network, and the way between them."""
