"""Data that comes with railcar, with the notices that its licences ask for. Holds no code."""
