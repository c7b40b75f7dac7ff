"""The demo: a whole billing cycle on the sandbox world, with a check of every figure."""
