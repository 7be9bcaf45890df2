"""The networks themselves, one file each: the masked autoencoder and the recognisers."""
