"""Why a goal can be missed, found by profiling; shown only where it is missed.

A goal without a text here was never missed while someone profiled; the page says so.
"""

WALL = (
    "Ray. The floor is two imports of torch side by side, one a core, and nothing "
    "else. A sweep imports torch once, in its template, but the other core has to "
    "start Ray's GCS and raylet, import Ray and Tune in the driver, Optuna in the "
    "journal's worker and Tune in the worker of each slot (pandas is nearly half of "
    "`import ray.tune`), one after the other before the first trial can start. It is "
    "paid once a sweep, not once a trial: `python -X importtime` and a sample of each "
    "process's CPU show it."
)
MEMORY = (
    "half of the peak are pages of torch's libraries in the template and its two "
    "trials; a fifth is the two slots' workers, most of it what `import ray.tune` "
    "brings along (155 MiB each beside 50 of an idle worker); the driver is an eighth. "
    "Tune's own import is in both peers (a sample of each process's proportional set "
    "size at the peak)."
)
COMMAND = "imports: numpy, pydantic and rich are most of it (`python -X importtime`)"
FIRST_LINE = (
    "imports: of 0.7 s to the first line 0.5 are Hydra, Optuna, pydantic and rich, the "
    "rest composes the first configs (`python -X importtime`)"
)
DATA = (
    "passes over floats. A float image of 64 px is 49 kB, more than a core's first "
    "cache; mean, two steps of light with cut and rounding as torchvision has them, "
    "and scaling are a dozen passes of 1.2 us each, half of an image's time. torch has "
    "no kernel that does several at once without a compiler on the machine (a sample "
    "of each step within `sweeper.vision.batched.prepared`)."
)
