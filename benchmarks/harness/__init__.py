"""What all rows of the scoreboard share: processes, environments, data, the machine, and the table of figures."""
