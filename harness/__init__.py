"""What tests and benchmarks share: servers, programs under test, load, faults, and judging them."""
