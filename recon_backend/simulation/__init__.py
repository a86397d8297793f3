"""Moving phantoms and a simulated scanner, so that everything can be tried without patient data."""
