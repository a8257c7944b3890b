"""Machines that are not this computer: rented or one's own, made ready, used over ssh, and given back.

Knows neither TensorFlow nor training: what runs on a machine is the command `railcar`, or any other. So a computer
without TensorFlow can rent, submit, follow and fetch.
"""
