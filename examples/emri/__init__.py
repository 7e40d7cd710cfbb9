"""Finding extreme mass ratio inspirals in TianQin data with a convolutional network.

A self-contained example after Zhang et al. 2022 (Phys. Rev. D 105, 123027). It shows how a detection problem is built
end to end: signal, instrument, noise, data, network, baseline, and alarm rates with their uncertainties. Read the
modules in this order: `orbit`, `harmonics`, `waveform`, `tianqin`, `noise`, `population`, `templates`, `batches`,
`network`, `convolution`, `bank`, `head`, `training`, `power`, `alarms`, `groups`, `evaluation`, `figures`.
"""

import os

# Samples are shared out among the cores, a product of matrices is not: then it is the same on any number of them.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
