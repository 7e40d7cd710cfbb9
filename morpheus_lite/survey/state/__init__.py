"""Which tiles are done, and what their products depend on."""
