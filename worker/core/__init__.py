"""The thinking: pure functions and records, without I/O, clocks or chance."""
