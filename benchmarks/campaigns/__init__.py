"""Faults for a service on purpose and in great numbers; `service_faults.py` beside this folder runs them."""
