"""One start of a sweep: the driver, Ray, and the slots that run trials."""
