"""Training of networks on simulated fields, and fine-tuning on a user's own."""

from morpheus_lite.training.config import TrainingConfig, read_config
