"""Training of the three networks: sources of movies, samples, loss, the fit with resume."""
