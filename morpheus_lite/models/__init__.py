"""Networks: building blocks, the U-Net of Hausen & Robertson (2020), and what is needed to train them.

The only part of the package, beside ``training``, that imports Keras.
"""
