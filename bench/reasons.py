"""Why a goal can be missed, found by profiling; shown only where it is missed.

A goal without a text here was never missed while someone profiled; the page says so.
"""

WALL = (
    "a process for each trial, and Ray. The floor trains 16 times in two warm "
    "processes, 0.10 s of CPU a trial; a trial in a process of its own takes 0.29 s: "
    "0.10 the same training, 0.07 what is done once in a process and pages that it "
    "copies from the zygote, 0.08 Hydra's composing of its config, 0.04 fork and "
    "exit, the rest its files. That is 1.5 s of wall on two cores. Driver, journal and "
    "two slots import Ray and Tune on the other core while the zygote imports torch, "
    "and are a second later. The preflight takes 0.2 s, the end 0.4 (Ray stops, the "
    "report is written). By time stamps in slot, child and driver, and a sample of "
    "each process's CPU five times a second."
)
MEMORY = (
    "torch: the zygote and its two trials share their pages and still take about "
    "950 MiB, two thirds of it and 0.42 of Ray Tune's whole peak. The driver takes "
    "170, each slot 150 (`import ray.tune`), the journal 90, Ray's own two processes "
    "65 (a sample of each process's proportional set size at the peak)."
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
RESUME = (
    "Optuna's replay of 270,000 records: a third is reading them as JSON and checking "
    "them, the rest is Optuna's, which copies a row for each report and attribute "
    "(`cProfile` of opening a journal of 1,000 trials). It is linear in the records "
    "and depends on the machine: an AMD EPYC took 2.6 s."
)
TRAINING = (
    "the processor. On an Intel Xeon with avx512_bf16 and without AMX one thread is "
    "slower with each default alone: 100 images/s plain, 86 with bf16, 91 with "
    "channels_last, 94 with channels_last and fused AdamW in fp32. An AMD EPYC took "
    "129 plain and 232 with all three. `trainer=cpu model.channels_last=false` is the "
    "plain step."
)
