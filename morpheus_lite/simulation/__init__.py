"""Simulated fields of galaxies and stars with truth, drawn with GalSim (the extra ``simulation``)."""

from morpheus_lite.simulation.field import HST_BANDS, Field, simulate_field
from morpheus_lite.simulation.observation import Conditions, class_map, draw_conditions, observe, plain_conditions
from morpheus_lite.simulation.products import simulate, training_field, write_field, write_training_field
from morpheus_lite.simulation.scene import Sky
