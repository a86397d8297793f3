"""The commands of `blindcine`, one module each: `register(subparsers)` declares it, `run(arguments)` does it.

Only this package (and `app.demo`, which one of its commands calls) may import `recon_backend`, and only
inside functions, so that declaring the command line stays cheap.
"""
