"""Resources of the machine: cores, memory, processes, and atomic files."""
