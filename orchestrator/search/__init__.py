"""What is tried next: trials for each head, samplers of settings, and schedulers that stop what is hopeless."""
