"""How long a study takes and what it costs: throughput measured for some seconds, and a simulated schedule."""
