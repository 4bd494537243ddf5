"""How several workers share one hidden quota, measured with real processes.

`make bench-quota`, or `python -m benchmarks.quota --only 1,3`. Each scenario has a broker, a
database and a simulator of its own on loopback, a backlog that lasts longer than it, and real
`resolution-worker run` processes. The simulator counts the calls by the second: what is judged is
what it saw, not what the workers say, except where only they can know (who called how often, and
which lane a token was served from). Ends with 1 if one figure is outside its bound.
"""
