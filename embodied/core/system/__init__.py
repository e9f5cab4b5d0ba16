"""What the machine gives: files, processes, connections, memory and signals."""
