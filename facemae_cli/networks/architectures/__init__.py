"""The networks themselves, one file each: the masked autoencoder and the recognisers, listed by name in `registry`."""
