"""The moments of gradient estimates: bias and variance."""
