"""The rows of the scoreboard. Each file measures one: `measure(bench)` gives what was measured as plain JSON, and
`describe(measured)` the lines of the table that stand for it: what, railcar, peer, ratio."""
