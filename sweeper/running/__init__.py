"""One start of a sweep: driver, Ray, from the first line to the last."""
