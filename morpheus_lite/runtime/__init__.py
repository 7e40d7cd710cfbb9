"""What a run uses of the machine: cores, memory, processes, and files that appear whole or not at all."""
