"""Why a goal can be missed, found by profiling; shown only where it is missed."""

WALL = (
    "Ray. The floor is two imports of torch side by side, one a core, and nothing "
    "else. A sweep imports torch once, in its template, but the other core has to "
    "start Ray's GCS and raylet, import Ray and Tune in the driver, Optuna in the "
    "journal's worker and Tune in the worker of each slot (pandas and pyarrow, which "
    "`ray.tune` imports, are a third of that). It is paid once a sweep, not once a "
    "trial: `python -X importtime` and a sample of each process's CPU show it."
)
MEMORY = (
    "of what is left, two thirds are pages of torch's libraries in the template and "
    "its trials, which Ray Tune's workers have as well, shared in both. Ray's GCS, "
    "raylet and a worker for each slot (Tune's imports are 90 MiB of each) are there "
    "in both, too; a trial's own process keeps 60 MiB for itself, the price of "
    "isolation."
)
RESULT = "the journal syncs once a report; the rest is Optuna's replay of its records"
FLAT = "the machine's page cache and garbage collector see a longer history"
DRIVER = "rows of finished trials stay in memory, so that nothing is read twice"
RESUME = "Optuna replays each record of its journal; json.loads is half of it"
PLAN = "each point is copied and updated as plain containers, then checked"
IMAGES = (
    "per trial, torch's loader hands over one batch at a time; the crop, the flip and "
    "the light of whole batches are bound by the memory of one core"
)
STEP = (
    "this CPU's units for bf16 are shared or absent; what is left is the layout of "
    "the convolutions and the optimizer in one kernel"
)
CHECKPOINT = (
    "a save waits for the disk: the file is synced before its name is put in place"
)
COMMAND = "most of it is imports: Optuna, pydantic and rich"
FIRST_LINE = "most of it is imports: Hydra, Optuna, pydantic and rich"
